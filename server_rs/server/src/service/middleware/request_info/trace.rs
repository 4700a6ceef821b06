//! The W3C trace context that a request is sent with: <https://www.w3.org/TR/trace-context/>.

use std::sync::Arc;

use tonic::codegen::http::HeaderMap;

/// What the specification asks everyone to pass on at least; more is for nobody.
const LONGEST_STATE: usize = 512;
/// The flags that are known: sampled, and that the trace id is random.
const KNOWN_FLAGS: u8 = 0b11;

/// The trace that a request belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::service) struct Trace {
    /// The `traceparent`, as version 00 writes it.
    pub(in crate::service) parent: Arc<str>,
    /// The `tracestate`: what tracing systems tell each other, passed on unread. May be empty.
    pub(in crate::service) state: Arc<str>,
}

impl Trace {
    /// None if the request has none, or one that breaks the specification, which then asks to ignore it.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut all = headers.get_all("traceparent").into_iter();
        let (Some(parent), None) = (all.next(), all.next()) else { return None };
        let parent = parse(parent.to_str().ok()?)?.into();
        let states = headers.get_all("tracestate").into_iter().map(|state| state.to_str().ok());
        let state = states.collect::<Option<Vec<_>>>().map(|states| states.join(","));
        let state = state.filter(|state| state.len() <= LONGEST_STATE).unwrap_or_default().into();
        Some(Self { parent, state })
    }

    /// 32 hex digits.
    pub(super) fn trace_id(&self) -> &str {
        self.parent.split('-').nth(1).unwrap_or_default()
    }

    /// The span that the request was sent in: 16 hex digits.
    pub(super) fn span_id(&self) -> &str {
        self.parent.split('-').nth(2).unwrap_or_default()
    }
}

/// Of a newer version the parts that this one knows.
fn parse(text: &str) -> Option<String> {
    let mut parts = text.split('-');
    let (version, trace_id, span_id, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let wellformed = is_hex(version, 2) && is_id(trace_id, 32) && is_id(span_id, 16) && is_hex(flags, 2);
    if !wellformed || version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let flags = u8::from_str_radix(flags, 16).ok()? & KNOWN_FLAGS;
    Some(format!("00-{trace_id}-{span_id}-{flags:02x}"))
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_id(text: &str, digits: usize) -> bool {
    is_hex(text, digits) && text.bytes().any(|byte| byte != b'0')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn headers(entries: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in entries {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_trace_context_is_read_as_version_00() {
        for (sent, read) in [
            (format!("00-{TRACE}-{SPAN}-01"), format!("00-{TRACE}-{SPAN}-01")),
            (format!("00-{TRACE}-{SPAN}-ff"), format!("00-{TRACE}-{SPAN}-03")),
            (format!("cc-{TRACE}-{SPAN}-00-what-comes-later"), format!("00-{TRACE}-{SPAN}-00")),
        ] {
            let trace = Trace::of(&headers(&[("traceparent", &sent)])).unwrap();
            assert_eq!((&*trace.parent, trace.trace_id(), trace.span_id(), &*trace.state), (&*read, TRACE, SPAN, ""));
        }
    }

    #[test]
    fn what_breaks_the_specification_is_ignored() {
        let zeros = "0".repeat(32);
        for sent in [
            String::new(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", &zeros[..16]),
            format!("00-{}-{SPAN}-01", &TRACE[1..]),
            format!("00-{TRACE}-{SPAN}-1"),
            format!(" 00-{TRACE}-{SPAN}-01"),
        ] {
            assert_eq!(Trace::of(&headers(&[("traceparent", &sent), ("tracestate", "a=1")])), None, "{sent}");
        }
        let twice = format!("00-{TRACE}-{SPAN}-01");
        assert_eq!(Trace::of(&headers(&[("traceparent", &twice), ("traceparent", &twice)])), None);
    }

    #[test]
    fn the_state_is_passed_on_unread_unless_it_is_too_long() {
        let parent = format!("00-{TRACE}-{SPAN}-01");
        let state = |states: &[&str]| {
            let mut entries = vec![("traceparent", &*parent)];
            entries.extend(states.iter().map(|state| ("tracestate", *state)));
            Trace::of(&headers(&entries)).unwrap().state
        };
        assert_eq!((&*state(&["a=1,b=2", "c=3"]), &*state(&[&"x".repeat(513)])), ("a=1,b=2,c=3", ""));
    }
}
