//! The public keys of issuers, fetched and remembered for a while.
//!
//! Owns how often a document with keys is asked for: once an hour, and once more when a token names a key that is not in
//! it, but not more often than once a minute. An issuer that does not answer is left alone for a few seconds. Otherwise
//! strangers with made-up keys could have it asked for at will.

use std::rc::Rc;

use crate::app::OutboundMethod;
use crate::context::Context;
use crate::egress::EgressUrl;
use crate::ports::{AppResponse, OutboundRequest, Ports};
use crate::verifying_key::PublicKeys;

/// How long the issuer is waited for, in milliseconds.
const TIMEOUT_MS: u32 = 10_000;
/// Seconds for which keys are remembered.
const LIFETIME: i64 = 3600;
/// Seconds between two requests because of an unknown key.
const REFETCH_INTERVAL: i64 = 60;
/// Seconds after which an issuer is asked again that did not answer, or not with keys. As long as it is waited for: whoever
/// waited may try again at once.
const FAILURE_PAUSE: i64 = 10;

/// The keys at an address. `has_key` says whether what is remembered will do. `None`: they can't be read.
pub(crate) async fn load<P: Ports>(
    context: &Context<P>,
    url: &EgressUrl,
    has_key: impl Fn(&PublicKeys) -> bool,
) -> Option<Rc<PublicKeys>> {
    let memory = context.ports.isolate_cache();
    if let Some((fetched_at, keys)) = memory.public_keys(url.as_str()) {
        let age = context.now().since(fetched_at);
        if age < REFETCH_INTERVAL || age < LIFETIME && has_key(&keys) {
            return Some(keys);
        }
    }
    let is_paused = |failed_at| context.now().since(failed_at) < FAILURE_PAUSE;
    if memory.failed_key_fetch(url.as_str()).is_some_and(is_paused) {
        return None;
    }
    let fetched = fetch(context, url).await;
    memory.remember_key_fetch(url.as_str(), fetched.is_none(), context.now());
    let keys = fetched?;
    memory.remember_public_keys(url.as_str(), &keys, context.now());
    Some(keys)
}

async fn fetch<P: Ports>(context: &Context<P>, url: &EgressUrl) -> Option<Rc<PublicKeys>> {
    let request = OutboundRequest::new(OutboundMethod::Get, url.clone(), vec![], TIMEOUT_MS)
        .with_headers_and_body(vec![("accept".into(), "application/json".into())], None);
    let AppResponse { status: 200, body, .. } = context.send(request).await.ok()? else { return None };
    PublicKeys::parse(&body).map(Rc::new)
}
