"""One variable, one program, one change: `python -m examples.quickstart`."""

from __future__ import annotations

import os

import dspy

import snakepit_bridge.dspy_integration as sb
from examples.language_model import language_model, last_request
from snakepit_bridge import SessionContext


def main() -> None:
    """Binds a program's temperature to a variable, and changes the variable."""
    # A server of this program's own, on a free port, that ends with it. If one is running already, $SNAKEPIT_ADDRESS
    # says where, and every program connected to the same session shares the variables below.
    connect = SessionContext.connect if "SNAKEPIT_ADDRESS" in os.environ else SessionContext.local

    with language_model() as lm, connect(session_id="quickstart") as ctx:
        # The server knows what a temperature may be: whoever sets it, from whatever language, is held to that.
        ctx.register_variable("llm_temperature", "float", 0.7, constraints={"min": 0.0, "max": 2.0})

        qa = dspy.Predict("question -> answer")
        sb.bind(qa, {"temperature": "llm_temperature"}, session=ctx)

        with dspy.context(lm=lm):
            prediction = qa(question="What should I do on a rainy Sunday?")
            print(f"revision {sb.revision_of(prediction)}: sent temperature {last_request(lm)['temperature']}")
            print(f"  {prediction.answer}")

            # Any process could do this. In a terminal: snakepit var set llm_temperature 0.0
            ctx.set_variable("llm_temperature", 0.0, reason="less surprise, please")

            # Nothing to reload, nobody to tell: the next forward uses it.
            prediction = qa(question="What should I do on a rainy Sunday?")
            print(f"revision {sb.revision_of(prediction)}: sent temperature {last_request(lm)['temperature']}")
            print(f"  {prediction.answer}")


if __name__ == "__main__":
    main()
