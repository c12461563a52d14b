//! The test of a client, asked of the app at most once in a while.
//!
//! Owns how long an answer counts. It is kept in the database, because callers reach several instances of the program.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::caller::hash;
use crate::client::Client;
use crate::core::Core;
use crate::error::{Code, Error, Result};
use crate::ports::{Clock, Ports};
use crate::store::client_tests;
use crate::time::Timestamp;

use super::trial::{self, Trial, Verdict};

/// Seconds that an answer counts.
const COUNTS_FOR: i64 = 30;
/// Seconds that an answer counts which somebody may be mending at the app.
const FAILURE_COUNTS_FOR: i64 = 5;
/// How long a caller waits for the test of another, in milliseconds.
const WAITS: [u32; 6] = [300, 700, 1000, 2000, 3000, 3000];

/// What the app made of a client, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ClientTestResponse"))]
struct ClientTest {
    /// What the app makes of the client.
    verdict: Verdict,
    /// The app's error code, or what was seen.
    code: Option<String>,
    /// What that means and what to do, for a person.
    detail: String,
    /// What must be registered at the app. Whether it is can't be told.
    #[cfg_attr(test, schemars(url))]
    redirect_uri: String,
    /// When the app was asked.
    checked_at: Timestamp,
}

/// What the app made of a client, and when: as this call found it, or another one a moment ago.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(transparent)]
pub struct RecentTest(#[cfg_attr(test, schemars(with = "ClientTest"))] Value);

/// Tests a client, or answers what an equal test found a moment ago: a trial and `checked_at`.
pub async fn test<P: Ports>(
    core: &Core<P>,
    app: &App,
    client: &Client,
    given: &BTreeMap<String, String>,
) -> Result<RecentTest> {
    // The sealed secret is another text each time one is entered, also within a second.
    let tested = hash(&format!("{app:?} {:?} {given:?}", client.sealed_secret));
    let now = core.now();
    match client_tests::claim(core.db(), &client.id, &tested, now, COUNTS_FOR).await? {
        None => new_test(core, app, client, given, (&tested, now)).await,
        Some(client_tests::ClientTest { result: Some(result), .. }) => Ok(RecentTest(result)),
        Some(_) => result_of_another(core, client, &tested).await,
    }
}

async fn new_test<P: Ports>(
    core: &Core<P>,
    app: &App,
    client: &Client,
    given: &BTreeMap<String, String>,
    (tested, at): (&str, Timestamp),
) -> Result<RecentTest> {
    let trial = match trial::of_client(core, app, client, given).await {
        Ok(trial) => trial,
        Err(error) => {
            if let Err(failed) = client_tests::cancel(core.db(), &client.id, tested, at).await {
                core.log_cause(&failed.into());
            }
            return Err(error);
        }
    };
    let counts_for = if trial.verdict == Verdict::Accepted { COUNTS_FOR } else { FAILURE_COUNTS_FOR };
    let Trial { verdict, code, detail, redirect_uri } = trial;
    let result = json!(ClientTest { verdict, code, detail, redirect_uri, checked_at: at });
    if let Err(failed) = client_tests::finish(core.db(), &client.id, tested, at, &result, counts_for).await {
        core.log_cause(&failed.into());
    }
    Ok(RecentTest(result))
}

async fn result_of_another<P: Ports>(core: &Core<P>, client: &Client, tested: &str) -> Result<RecentTest> {
    for milliseconds in WAITS {
        core.ports.clock().sleep(milliseconds).await;
        match client_tests::get(core.db(), &client.id, tested).await? {
            Some(client_tests::ClientTest { result: Some(result), .. }) => return Ok(RecentTest(result)),
            Some(_) => {}
            None => break,
        }
    }
    let detail = "The same test is under way, and the app has not answered it yet. Try again shortly.";
    Err(Error::new(Code::AppUnavailable, detail).hint(|h| h.retry_after = Some(FAILURE_COUNTS_FOR)))
}
