//! The test of a client, asked of the app at most once in a while.
//!
//! Owns how long an answer counts. It is kept in the database, because callers reach several instances of the program.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::app::AuthMethod;
use crate::caller::hash_secret;
use crate::client::Client;
use crate::context::Context;
use crate::error::{Error, ErrorCode, Result};
use crate::ports::{Clock, Ports};
use crate::store::client_tests;
use crate::time::Timestamp;

use super::client_test::{self, ClientTest, ClientTestVerdict};

/// Seconds that an answer counts.
const RESULT_TTL: i64 = 30;
/// Seconds that an answer counts which somebody may be mending at the app.
const FAILURE_TTL: i64 = 5;
/// How long a caller waits for the test of another, in milliseconds.
const POLL_DELAYS_MS: [u32; 6] = [300, 700, 1000, 2000, 3000, 3000];

/// What the app made of a client, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ClientTestResponse"))]
struct ClientTestResult {
    /// The result.
    verdict: ClientTestVerdict,
    /// The app's error code, or what was seen.
    code: Option<String>,
    /// What that means and what to do, for a person.
    detail: String,
    /// What must be registered at the app. Whether it is cannot be tested.
    #[cfg_attr(test, schemars(url))]
    redirect_uri: String,
    /// When the app was asked.
    checked_at: Timestamp,
}

/// What the app made of a client, and when: as this call found it, or another one a moment ago.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(transparent)]
pub struct RecentTest(#[cfg_attr(test, schemars(with = "ClientTestResult"))] Value);

impl RecentTest {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// The result, as the API names it.
    pub fn verdict(&self) -> &str {
        self.text("verdict").unwrap_or_default()
    }

    /// The app's error code, or what was seen.
    pub fn code(&self) -> Option<&str> {
        self.text("code")
    }

    /// What that means and what to do.
    pub fn detail(&self) -> &str {
        self.text("detail").unwrap_or_default()
    }
}

/// Tests a client, or answers what an equal test found a moment ago: a trial and `checked_at`.
pub async fn run_or_reuse<P: Ports>(
    context: &Context<P>,
    auth_method: &AuthMethod,
    client: &Client,
    given: &BTreeMap<String, String>,
) -> Result<RecentTest> {
    // The sealed secret is another text each time one is entered, also within a second.
    let tested = hash_secret(&format!("{auth_method:?} {:?} {given:?}", client.sealed_secret));
    let now = context.now();
    match client_tests::begin(context.db(), &client.id, &tested, now, RESULT_TTL).await? {
        None => run_test(context, auth_method, client, given, &tested, now).await,
        Some(client_tests::ClientTestRow { result: Some(result), .. }) => Ok(RecentTest(result)),
        Some(_) => wait_for_result(context, client, &tested).await,
    }
}

async fn run_test<P: Ports>(
    context: &Context<P>,
    auth_method: &AuthMethod,
    client: &Client,
    given: &BTreeMap<String, String>,
    tested: &str,
    at: Timestamp,
) -> Result<RecentTest> {
    let trial = match client_test::run(context, auth_method, client, given).await {
        Ok(trial) => trial,
        Err(error) => {
            if let Err(failed) = client_tests::cancel(context.db(), &client.id, tested, at).await {
                context.log_cause(&failed.into());
            }
            return Err(error);
        }
    };
    let counts_for = if trial.verdict == ClientTestVerdict::Accepted { RESULT_TTL } else { FAILURE_TTL };
    let ClientTest { verdict, code, detail, redirect_uri } = trial;
    let result = json!(ClientTestResult { verdict, code, detail, redirect_uri, checked_at: at });
    if let Err(failed) = client_tests::finish(context.db(), &client.id, tested, at, &result, counts_for).await {
        context.log_cause(&failed.into());
    }
    Ok(RecentTest(result))
}

async fn wait_for_result<P: Ports>(context: &Context<P>, client: &Client, tested: &str) -> Result<RecentTest> {
    for milliseconds in POLL_DELAYS_MS {
        context.ports.clock().sleep(milliseconds).await;
        match client_tests::get(context.db(), &client.id, tested).await? {
            Some(client_tests::ClientTestRow { result: Some(result), .. }) => return Ok(RecentTest(result)),
            Some(_) => {}
            None => break,
        }
    }
    let detail = "The same test is under way, and the app has not answered it yet. Try again shortly.";
    Err(Error::new(ErrorCode::AppUnavailable, detail).with_hints(|h| h.retry_after = Some(FAILURE_TTL)))
}
