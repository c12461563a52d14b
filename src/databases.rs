//! The databases of an installation: which one takes a new workspace, and whether all of them work.
//!
//! Owns the choice. A workspace never moves, so it is made once. Refuses to look into a database: the store does.

use futures_util::future::join_all;
use serde_json::json;

use crate::context::Context;
use crate::error::{Error, ErrorCode, Result};
use crate::ids::{Shard, random_text};
use crate::ports::Ports;
use crate::store::workspaces::{WORKSPACES_COUNTED, load_usage};

/// A context in the database for a new workspace: the one that the operator wants, or the one with the fewest workspaces. Of
/// several with as few it is the first. One that does not answer is not chosen.
///
/// # Errors
/// There is no such database, it takes no new workspaces, or none of them does or answers.
pub async fn choose_for_workspace<P: Ports>(context: &Context<P>, wanted: Option<u16>) -> Result<Context<P>> {
    let all = context.all_shards();
    if let Some(number) = wanted {
        let last = all.len().saturating_sub(1);
        let chosen = all.into_iter().find(|one| one.shard().number() == number);
        let chosen = chosen.ok_or_else(|| {
            Error::invalid_field("database", format!("must be the number of a database: 0 to {last}."))
        })?;
        return if is_open(&chosen) { Ok(chosen) } else { Err(closed_error(Some(chosen.shard()))) };
    }
    let mut open: Vec<_> = all.into_iter().filter(is_open).collect();
    match open.len() {
        0 => Err(closed_error(None)),
        // Nothing is counted where nothing is to be chosen.
        1 => Ok(open.remove(0)),
        _ => find_emptiest(open).await,
    }
}

/// Whether a database takes new workspaces.
pub fn is_open<P: Ports>(database: &Context<P>) -> bool {
    !database.config.closed_databases.contains(&database.shard())
}

fn closed_error(database: Option<Shard>) -> Error {
    let which =
        database.map_or_else(|| "Every database".to_owned(), |shard| format!("The database {}", shard.binding()));
    let detail = format!(
        "{which} is closed to new workspaces: it is listed in CLOSED_DATABASES. Name another one, or add a database."
    );
    Error::new(ErrorCode::Conflict, detail)
}

async fn find_emptiest<P: Ports>(open: Vec<Context<P>>) -> Result<Context<P>> {
    let counted = join_all(open.iter().map(|database| load_usage(database.db()))).await;
    let (mut answering, mut failed) = (vec![], None);
    for (database, counted) in open.into_iter().zip(counted) {
        match counted {
            Ok(usage) => answering.push((usage.workspaces, database)),
            Err(error) => {
                let error = Error::from(error);
                database.log_cause(&error);
                failed = Some(error);
            }
        }
    }
    let Some(fewest) = answering.iter().map(|(workspaces, _)| *workspaces).min() else {
        return Err(failed.unwrap_or_else(|| closed_error(None)));
    };
    answering.retain(|(workspaces, _)| *workspaces == fewest);
    // Nobody knows which of those is the emptiest that have as many as are counted: each gets its part.
    let at = if fewest >= WORKSPACES_COUNTED { draw(&answering)? } else { 0 };
    Ok(answering.swap_remove(at).1)
}

/// The place of one of these, by chance.
fn draw<P: Ports>(from: &[(i64, Context<P>)]) -> Result<usize> {
    let Some((_, database)) = from.first() else { return Ok(0) };
    let text = random_text::<8>(database.ports.random())?;
    let sum = text.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
    Ok(sum % from.len())
}

/// Refuses unless every database answers, and its data was sealed with the keys that are there.
///
/// # Errors
/// What is wrong with the first one that does not work.
pub async fn require_all_working<P: Ports>(context: &Context<P>) -> Result<()> {
    let all = context.all_shards();
    let checked = join_all(all.iter().map(Context::check_key_ring_now)).await;
    let mut first = Ok(());
    for (database, checked) in all.iter().zip(checked) {
        if let Err(error) = checked {
            database.log_cause(&error);
            let fields = json!({ "code": error.code.as_str(), "database": database.shard().binding() });
            database.log("error", "health_check_failed", &fields);
            first = first.and(Err(error));
        }
    }
    first
}
