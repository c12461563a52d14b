//! Whose credential it is, where an answer tells that after a connection was made.
//!
//! Owns the rule that a credential which turns out to be another account's is handed out no more: what a workflow does
//! with it would happen to somebody else's data. Refuses to ask for this alone: the identity request of a probe and the
//! answer to a refresh tell it without a further request. Refuses to guess: see [`AccountShape::is_fixed`].

use serde_json::json;

use crate::app::{AccountShape, Identity, Probe, Values};
use crate::connect::paste::marked;
use crate::connection::{Account, Connection, Reason};
use crate::core::Core;
use crate::error::Result;
use crate::ports::{ErrandOutcome, HttpError, Inbound, Ports};
use crate::registry;
use crate::server;
use crate::store::refreshes::{self, Case};
use crate::token::{self, TokenSet};

use super::Talk;
use super::death::bury;
use super::redemption::Redemption;

/// What an answer tells of the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// It is the connection's.
    Same,
    /// It is another one's.
    Other,
    /// The answer does not tell, or not reliably.
    Unknown,
}

/// The same id is the same account. Another id is another account only where its label differs, too: an app that changes
/// the form of its ids keeps the names.
fn compare(connection: &Connection, shape: &AccountShape, told: Option<&Account>) -> Owner {
    match (&connection.account, told) {
        (Some(known), Some(told)) if known.id == told.id => Owner::Same,
        (Some(known), Some(told)) if shape.is_fixed() && known.label != told.label => Owner::Other,
        _ => Owner::Unknown,
    }
}

/// What the answer to an identity request tells.
pub(super) fn of_probe<P: Ports>(
    core: &Core<P>,
    (case, talk): (&Case, &Talk),
    (identity, probe, values): (&Identity, &Probe, &Values),
    answer: &std::result::Result<Inbound, HttpError>,
) -> Owner {
    let Ok(inbound) = answer else { return Owner::Unknown };
    let told = token::read_account(&talk.app, (identity, probe), inbound, values, core.now());
    // As the account was named when it was connected.
    let told = told.ok().map(|account| marked(&talk.app, &talk.credential, account));
    compare(&case.connection, &identity.account, told.as_ref())
}

/// Asks once more: an app's cache may have answered for somebody else.
pub(super) async fn ask_again<P: Ports>(
    core: &Core<P>,
    (case, talk): (&Case, &Talk),
    (identity, probe, values): (&Identity, &Probe, &Values),
) -> Result<Owner> {
    let request = token::probe_request(probe, &talk.app, values, &talk.destinations);
    let request = request.map_err(|problem| registry::unfilled(&talk.app, &problem))?;
    let answer = core.send(request).await;
    Ok(of_probe(core, (case, talk), (identity, probe, values), &answer))
}

/// What the answer to a refresh tells, where token answers tell whose they are.
pub(super) fn of_tokens(of: &Redemption<'_>, tokens: &TokenSet) -> Owner {
    let identity = of.talk.app.identity_at(of.talk.at.as_ref());
    let Some(identity) = identity.filter(|one| one.probe.is_none() && of.pick.which.is_none()) else {
        return Owner::Unknown;
    };
    let values = server::values(&of.talk.app, &of.talk.credential, &of.case.connection.variables);
    let told = token::read_account_of_tokens(&identity.account, tokens, &values);
    compare(&of.case.connection, &identity.account, told.as_ref())
}

/// Declares a connection unusable whose credential is another account's. A person reconnects it, and is asked which
/// account it is for.
pub(super) async fn refuse<P: Ports>(core: &Core<P>, case: &Case, evidence: &str) -> Result<ErrandOutcome> {
    let connection = &case.connection;
    let fields = json!({ "connection": connection.id.as_str(), "app": connection.app.as_str() });
    core.log("error", "account_changed", &fields);
    bury(core, case, Reason::OtherAccount, evidence).await
}

/// The same after a refresh. Its tokens are stored by now: they can't be had again, and a person may want them back.
pub(super) async fn refuse_renewed<P: Ports>(core: &Core<P>, of: &Redemption<'_>) -> Result<ErrandOutcome> {
    match refreshes::case(core.db(), &of.case.connection.id).await? {
        Some(now) if now.connection.generation == of.case.connection.generation => {
            refuse(core, &now, "refresh: another account").await
        }
        _ => Ok(ErrandOutcome::Gone),
    }
}
