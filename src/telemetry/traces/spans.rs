//! The spans of one request: one for all of it, and one for the exchange with the server. Nothing that a
//! device says of itself is in them: what it chose is left out, or only its kind is there.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, uri::Authority};
use opentelemetry::{
    Context, KeyValue, Value,
    propagation::TextMapPropagator,
    trace::{Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, TraceState, Tracer},
};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{SdkTracer, Span},
};

use crate::{
    decisions::{Kind, Record, clock::Moment},
    policy::reason::Verdict,
    syncml::version::Declared,
};

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The methods that may be named (HTTP semantic conventions); others are whatever a client likes.
const METHODS: [&str; 9] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];
const OTHER: &str = "_OTHER";
/// The longest segment of a path that is shown, and the most digits in it.
const SEGMENT: usize = 24;
const DIGITS: usize = 2;
/// Behind so many bytes a path is cut.
const PATH: usize = 96;

/// The spans of one request. They end with its decision record.
#[derive(Debug)]
pub struct Spans {
    tracer: SdkTracer,
    at: Moment,
    method: &'static str,
    path: Option<Box<str>>,
    tls: bool,
    /// Whether the client began the trace.
    follows: bool,
    server: Span,
    client: Option<Exchange>,
}

/// The exchange with the server.
#[derive(Debug)]
struct Exchange {
    span: Span,
    /// Since the beginning of the request.
    began: Duration,
    authority: Authority,
    status: Option<StatusCode>,
}

impl Spans {
    /// A request came in.
    pub(crate) fn begin<B>(tracer: &SdkTracer, at: Moment, kind: Kind, request: &Request<B>, tls: bool) -> Self {
        let (context, follows) = parent(request.headers());
        let method = method(request.method());
        let server = tracer.build_with_context(builder(method, SpanKind::Server, at, Duration::ZERO), &context);
        // Notifications are posted to paths that are addresses of devices.
        let path = (server.is_recording() && kind == Kind::Message).then(|| request.uri().path().into());
        Self { tracer: tracer.clone(), at, method, path, tls, follows, server, client: None }
    }

    /// It goes to a server, whose part of the trace begins under the exchange.
    pub(crate) fn towards_server(&mut self, headers: &mut HeaderMap, authority: &Authority) {
        if let Some(exchange) = &mut self.client {
            // To another address of the same server, as no connection could be made.
            exchange.authority = authority.clone();
            return;
        }
        let context = Context::new().with_remote_span_context(self.server.span_context().clone());
        let began = self.at.steady.elapsed();
        let span = self.tracer.build_with_context(builder(self.method, SpanKind::Client, self.at, began), &context);
        if let Some(value) = traceparent(span.span_context()) {
            headers.insert(&TRACEPARENT, value);
        }
        if !self.follows {
            headers.remove(&TRACESTATE);
        }
        self.client = Some(Exchange { span, began, authority: authority.clone(), status: None });
    }

    /// The server answered.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        if let Some(exchange) = &mut self.client {
            exchange.status = Some(status);
        }
    }

    /// The record is complete.
    pub(crate) fn end(mut self, record: &Record) {
        let took = self.at.steady.elapsed();
        if let Some(exchange) = self.client.take() {
            let ended = record.upstream.map_or(took, |upstream| exchange.began + upstream);
            exchange.end(record, self.method, self.at.wall + ended);
        }
        if self.server.is_recording() {
            self.describe(record);
        }
        self.server.end_with_timestamp(self.at.wall + took);
    }

    fn describe(&mut self, record: &Record) {
        let declared = record.declared.as_ref().map(|declared| match declared {
            Declared::Known(version) => version.to_string(),
            Declared::Unrecognised(_) => "unrecognised".to_owned(),
        });
        let text = |name: &'static str, value: Option<Value>| value.map(|value| KeyValue::new(name, value));
        let path = self.path.as_deref().map(|path| shown(path, record.session.as_deref()));
        let failed = record.verdict == Verdict::Fail || record.http_status.is_some_and(|status| status >= 500);
        let attributes = [
            text("http.request.method", Some(self.method.into())),
            text("url.scheme", Some(if self.tls { "https" } else { "http" }.into())),
            text("url.path", path.map(Into::into)),
            text("http.response.status_code", record.http_status.map(|status| i64::from(status).into())),
            text("error.type", failed.then(|| record.reason.code().into())),
            text("protover.decision", Some(record.id().to_owned().into())),
            text("protover.site", record.site.clone().map(Into::into)),
            text("protover.server", record.server.clone().map(Into::into)),
            text("protover.verdict", Some(record.verdict.code().into())),
            text("protover.reason", Some(record.reason.code().into())),
            text("protover.requirement", record.requirement.map(|requirement| requirement.code().into())),
            text("protover.declared", declared.map(Into::into)),
            text("protover.used", record.used.map(|version| version.to_string().into())),
            text("protover.recommended", record.recommended.map(|version| version.to_string().into())),
        ];
        self.server.set_attributes(attributes.into_iter().flatten());
        if failed {
            self.server.set_status(Status::error(""));
        }
    }
}

impl Exchange {
    fn end(mut self, record: &Record, method: &'static str, at: std::time::SystemTime) {
        self.span.set_attribute(KeyValue::new("http.request.method", method));
        self.span.set_attribute(KeyValue::new("server.address", self.authority.host().to_owned()));
        if let Some(port) = self.authority.port_u16() {
            self.span.set_attribute(KeyValue::new("server.port", i64::from(port)));
        }
        if let Some(again) = record.attempts.map(|attempts| attempts.saturating_sub(1)).filter(|again| *again > 0) {
            self.span.set_attribute(KeyValue::new("http.request.resend_count", i64::from(again)));
        }
        match self.status {
            Some(status) => {
                self.span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
                if status.is_client_error() || status.is_server_error() {
                    self.span.set_attribute(KeyValue::new("error.type", status.as_str().to_owned()));
                    self.span.set_status(Status::error(""));
                }
            }
            None => {
                self.span.set_attribute(KeyValue::new("error.type", record.reason.code()));
                self.span.set_status(Status::error(""));
            }
        }
        self.span.end_with_timestamp(at);
    }
}

fn builder(method: &'static str, kind: SpanKind, at: Moment, since: Duration) -> SpanBuilder {
    let name = if method == OTHER { "HTTP" } else { method };
    SpanBuilder::from_name(name).with_kind(kind).with_start_time(at.wall + since)
}

fn method(method: &Method) -> &'static str {
    METHODS.into_iter().find(|known| *known == method.as_str()).unwrap_or(OTHER)
}

/// The trace that a client began, when it says so clearly: in one `traceparent`, with all of its parts.
fn parent(headers: &HeaderMap) -> (Context, bool) {
    let mut all = headers.get_all(&TRACEPARENT).iter();
    let whole = match (all.next(), all.next()) {
        (Some(only), None) => only.len() >= 55 && [2, 35, 52].iter().all(|at| only.as_bytes().get(*at) == Some(&b'-')),
        _ => false,
    };
    if !whole {
        return (Context::new(), false);
    }
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers));
    if !context.has_active_span() {
        return (Context::new(), false);
    }
    let theirs = context.span().span_context().clone();
    // `tracestate` goes on as it came, but not to the collector: it may say anything.
    let bare = SpanContext::new(theirs.trace_id(), theirs.span_id(), theirs.trace_flags(), true, TraceState::NONE);
    (Context::new().with_remote_span_context(bare), true)
}

fn traceparent(context: &SpanContext) -> Option<HeaderValue> {
    let text = format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags());
    context.is_valid().then(|| HeaderValue::try_from(text).ok()).flatten()
}

/// A path as it may be shown: up to the first segment that looks as if it named a device or a session.
fn shown(path: &str, session: Option<&str>) -> String {
    let mut shown = String::new();
    for segment in path.split('/').skip(1) {
        shown.push('/');
        if shown.len() > PATH {
            shown.push('*');
            break;
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'~');
        let word = segment.len() <= SEGMENT
            && segment.bytes().all(plain)
            && segment.bytes().filter(u8::is_ascii_digit).count() <= DIGITS
            && (segment.is_empty() || Some(segment) != session);
        if !word {
            shown.push('*');
            break;
        }
        shown.push_str(segment);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_shown_as_far_as_it_names_nobody() {
        for (path, expected) in [
            ("/", "/"),
            ("/dm", "/dm"),
            ("/~dm11/syncml/dm/", "/~dm11/syncml/dm/"),
            ("/dm/IMEI:493005100592800/x", "/dm/*"),
            ("/dm/493005100592800", "/dm/*"),
            ("/dm;jsessionid=A/x", "/*"),
            ("/dm/a%20b", "/dm/*"),
            ("/dm/0A/x", "/dm/*"),
            ("/wappush/+4915112345678", "/wappush/*"),
            ("/abcdefghijklmnopqrstuvwxyz", "/*"),
            (&"/a".repeat(10_000), &format!("{}/*", "/a".repeat(48))),
        ] {
            assert_eq!(shown(path, Some("0A")), expected, "{path}");
        }
    }

    #[test]
    fn only_one_whole_traceparent_is_followed() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for (values, expected) in [
            (vec![good], true),
            (vec![], false),
            (vec![good, good], false),
            (vec!["00-1-1-01"], false),
            (vec!["00-00000000000000000000000000000000-00f067aa0ba902b7-01"], false),
            (vec!["00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"], false),
            (vec!["ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"], false),
            (vec!["cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"], true),
        ] {
            let mut headers = HeaderMap::new();
            for value in &values {
                headers.append(&TRACEPARENT, HeaderValue::from_static(value));
            }
            assert_eq!(parent(&headers).1, expected, "{values:?}");
        }
    }
}
