"""What a path such as `rag.answer.temperature` points at in a program, and which values fit there."""
