use std::{
    any::Any, error::Error as StdError, fmt, future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Serialize, de::DeserializeOwned};
use snakepit_core::{error::Error, session::SessionId, value::Value, variable::Name};
use tokio::time::Instant;

use super::{Arguments, Failure, RetryPolicy, ToolSpec};

type Run = dyn Fn(Arguments, CallContext) -> BoxFuture<'static, Result<Value, Failure>> + Send + Sync;

/// A function of the program that hosts the server, as a tool of every session.
///
/// ```
/// use schemars::JsonSchema;
/// use serde::Deserialize;
/// use snakepit_server::{server::Server, tool::Tool};
///
/// /// What to look up.
/// #[derive(Deserialize, JsonSchema)]
/// struct City {
///     /// Its English name.
///     city: String,
/// }
///
/// let population = Tool::new("population", |city: City| async move {
///     if city.city == "Paris" { Ok(2_102_650_u64) } else { Err(format!("no city {:?}", city.city)) }
/// })
/// .description("How many people live in a city.")
/// .idempotent(true);
/// let server = Server::builder().native_tool(population);
/// ```
#[derive(Clone)]
pub struct Tool {
    name: String,
    spec: ToolSpec,
    run: Arc<Run>,
}

/// What a native tool may want to know of its call.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// The call.
    pub call_id: Arc<str>,
    /// The session from which it is made.
    pub session_id: SessionId,
    /// Who calls.
    pub caller: Arc<str>,
    /// The W3C trace context, if the caller sent one: the trace, and the span in it that the tool's are children of.
    pub traceparent: Arc<str>,
    /// What tracing systems add to it.
    pub tracestate: Arc<str>,
    /// When nobody waits any more. The tool's future is dropped then, as when the call is cancelled.
    pub deadline: Instant,
}

impl Tool {
    /// A tool of an async function. Its arguments' type gives the schema, the function's documentation is the type's
    /// unless [`description`](Self::description) says otherwise. The result is serialized as JSON would be, so that a
    /// NaN becomes null; an error is told to the caller by its type's name and its text, or exactly if it is a
    /// [`Failure`]. A panic is a failure, too.
    pub fn new<A, F, R, T, E>(name: &str, function: F) -> Self
    where
        A: DeserializeOwned + JsonSchema + 'static,
        F: Fn(A) -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, E>> + Send + 'static,
        T: Serialize,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        Self::with_context(name, move |arguments, _| function(arguments))
    }

    /// The same of a function that also takes the call's context.
    pub fn with_context<A, F, R, T, E>(name: &str, function: F) -> Self
    where
        A: DeserializeOwned + JsonSchema + 'static,
        F: Fn(A, CallContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, E>> + Send + 'static,
        T: Serialize,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let function = Arc::new(function);
        let run = move |arguments: Arguments, context: CallContext| {
            let function = Arc::clone(&function);
            let ran = async move {
                let arguments = parse::<A>(&arguments)?;
                let result = function(arguments, context).await.map_err(|error| failed::<E>(error.into()))?;
                returned(&result)
            };
            AssertUnwindSafe(ran)
                .catch_unwind()
                .map(|ended| ended.unwrap_or_else(|panic| Err(panicked(&*panic))))
                .boxed()
        };
        let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<A>();
        schema.remove("$schema");
        schema.remove("title");
        let description = schema.remove("description");
        let mut spec = ToolSpec::new(Name::lowest());
        spec.description = description.and_then(|text| text.as_str().map(ToOwned::to_owned)).unwrap_or_default();
        spec.arguments_schema = schema.as_value().to_string().into();
        Self { name: name.to_owned(), spec, run: Arc::new(run) }
    }

    /// What it does, for people and language models.
    #[must_use]
    pub fn description(mut self, text: &str) -> Self {
        text.clone_into(&mut self.spec.description);
        self
    }

    /// Whether running it twice does no harm: then a failure that says so is tried again.
    #[must_use]
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.spec.idempotent = idempotent;
        self
    }

    /// How long a call may take, retries included.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.spec.timeout = Some(timeout);
        self
    }

    /// How to try again.
    #[must_use]
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.spec.retry = retry;
        self
    }

    /// How many calls of it run at once; further ones wait. No limit unless there is one.
    #[must_use]
    pub fn max_concurrency(mut self, calls: u32) -> Self {
        self.spec.max_concurrency = Some(calls.max(1));
        self
    }

    /// What it is, if its name is one.
    pub(crate) fn spec(&self) -> Result<ToolSpec, Error> {
        Ok(ToolSpec { name: Name::parse(&self.name)?, ..self.spec.clone() })
    }

    /// Runs a call. Dropping the future cancels it.
    pub(crate) fn call(
        &self,
        arguments: Arguments,
        context: CallContext,
    ) -> BoxFuture<'static, Result<Value, Failure>> {
        (self.run)(arguments, context)
    }
}

impl fmt::Debug for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tool").field("name", &self.name).field("spec", &self.spec).finish_non_exhaustive()
    }
}

fn parse<A: DeserializeOwned>(arguments: &Arguments) -> Result<A, Failure> {
    let object = arguments.iter().map(|(name, value)| (name.to_string(), value.into())).collect();
    serde_json::from_value(serde_json::Value::Object(object))
        .map_err(|error| Failure::new("InvalidArguments", format!("the arguments do not fit: {error}")))
}

fn returned(result: &impl Serialize) -> Result<Value, Failure> {
    let unserializable = |problem: String| Failure::new("UnserializableResult", problem);
    let json = serde_json::to_value(result).map_err(|error| unserializable(error.to_string()))?;
    Value::try_from(json).map_err(|error| unserializable(error.to_string()))
}

fn failed<E>(error: Box<dyn StdError + Send + Sync>) -> Failure {
    let error = match error.downcast::<Failure>() {
        Ok(failure) => return *failure,
        Err(error) => error,
    };
    let name = std::any::type_name::<E>();
    let name = name.split('<').next().unwrap_or_default().rsplit("::").next().unwrap_or_default();
    let plain = matches!(name, "String" | "str" | "&str" | "Box");
    Failure::new(if plain { "ToolError" } else { name }, error.to_string())
}

fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    Failure::new("panic", text.unwrap_or_else(|| "the tool panicked".into()))
}
