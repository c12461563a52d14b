//! Data points about what the program did: how often, how it ended, and how long it took.
//!
//! Owns which points there are. Refuses ids of connections and accounts, and anything that a person or an app has written: a
//! code has a short form. docs/metrics.md has the columns.

use crate::app::AppId;
use crate::context::Context;
use crate::error::{Error, ErrorCode};
use crate::ids::WorkspaceId;
use crate::ports::{MetricEvent, Metrics, MetricsPoint, Ports, RefreshOutcome};

/// Characters of a code, at most.
const MAX_CODE_LENGTH: usize = 64;

/// When something began, in milliseconds; 0 without the binding.
#[derive(Debug, Clone, Copy, Default)]
pub struct Started(i64);

/// Notes when something begins.
pub fn start<P: Ports>(context: &Context<P>) -> Started {
    Started(if context.ports.metrics().is_bound() { context.ports.metrics().milliseconds() } else { 0 })
}

/// A credential was handed out, or refused. `how` says where it came from: its freshness, or the cache.
pub fn count_resolve<P: Ports>(
    context: &Context<P>,
    (workspace, app): (&WorkspaceId, &str),
    ended: Result<&'static str, &Error>,
    started: Started,
) {
    let (outcome, code) = match ended {
        Ok(how) => (how, ""),
        Err(error) => ("refused", error.code.as_str()),
    };
    write(context, MetricEvent::Resolve, (workspace, app), (outcome, code), started);
}

/// A request of a kind was refused before anything was sent.
pub fn count_refusal<P: Ports>(context: &Context<P>, event: MetricEvent, of: (&WorkspaceId, &str), error: &Error) {
    write(context, event, of, ("refused", error.code.as_str()), Started::default());
}

/// A request that passes through: whose it is, and when it came. Nothing is copied without the binding.
#[derive(Debug, Clone)]
pub struct CountedRequest(Option<(WorkspaceId, String, Started)>);

impl CountedRequest {
    /// One that came then.
    pub fn new<P: Ports>(context: &Context<P>, (workspace, app): (&WorkspaceId, &str), started: Started) -> Self {
        let is_bound = context.ports.metrics().is_bound();
        Self(is_bound.then(|| (workspace.clone(), app.to_owned(), started)))
    }

    /// How it ended: with an outcome and the app's status, or with an error of ours.
    pub fn end<P: Ports>(self, context: &Context<P>, ended: Result<(&'static str, u16), &Error>) {
        let Some((workspace, app, started)) = self.0 else { return };
        let (outcome, code) = match ended {
            Ok((outcome, status)) => (outcome, status_class(status)),
            Err(error) if was_sent(error.code) => ("failed", error.code.as_str()),
            Err(error) => ("refused", error.code.as_str()),
        };
        write(context, MetricEvent::Proxy, (&workspace, &app), (outcome, code), started);
    }
}

/// Whether the app may have acted on a request that ended so.
fn was_sent(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::AppUnavailable | ErrorCode::AppResponseRefused)
}

fn status_class(status: u16) -> &'static str {
    match status {
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        500..=599 => "5xx",
        _ => "other",
    }
}

/// The app was asked for a token, or whether a credential works.
pub fn count_attempt<P: Ports>(
    context: &Context<P>,
    event: MetricEvent,
    (workspace, app): (&WorkspaceId, &AppId),
    outcome: &RefreshOutcome,
    started: Started,
) {
    write(context, event, (workspace, app.as_str()), (outcome.as_str(), ""), started);
}

/// The app refused, or failed, with a code.
pub fn count_failure<P: Ports>(context: &Context<P>, workspace: &WorkspaceId, app: &AppId, code: &str) {
    write(context, MetricEvent::Failure, (workspace, app.as_str()), ("failed", code), Started(0));
}

/// An event of an app was accepted, came once more, or was refused.
pub fn count_app_event<P: Ports>(context: &Context<P>, workspace: &WorkspaceId, app: &str, outcome: &str, code: &str) {
    write(context, MetricEvent::AppEvent, (workspace, app), (outcome, code), Started(0));
}

fn write<P: Ports>(
    context: &Context<P>,
    event: MetricEvent,
    (workspace, app): (&WorkspaceId, &str),
    (outcome, code): (&str, &str),
    started: Started,
) {
    let metrics = context.ports.metrics();
    if !metrics.is_bound() {
        return;
    }
    let milliseconds = if started.0 > 0 { (metrics.milliseconds() - started.0).max(0) } else { 0 };
    metrics.write(&MetricsPoint {
        event,
        workspace: workspace.clone(),
        app: app.to_owned(),
        outcome: outcome.to_owned(),
        code: short_code(code),
        milliseconds,
    });
}

/// Codes of apps were shortened when they were read; this holds for all others, too.
fn short_code(text: &str) -> String {
    let is_plain = |one: &char| one.is_ascii_alphanumeric() || matches!(one, '_' | '.' | '-');
    text.chars().filter(is_plain).take(MAX_CODE_LENGTH).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_code_is_short_and_plain() {
        assert_eq!(super::short_code("invalid_grant"), "invalid_grant");
        assert_eq!(super::short_code("Bearer xoxb-1 <b>"), "Bearerxoxb-1b");
        assert_eq!(super::short_code(&"x".repeat(100)).len(), 64);
    }
}
