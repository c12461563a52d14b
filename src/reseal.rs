//! Re-sealing: what another key than the first sealed is sealed again under the first, in the background.
//!
//! Owns the decision what is sealed again and when all is done. A turn looks at one page of places and
//! writes what it changed together with its cursor; a turn that dies loses nothing. Every value is
//! replaced only while it is the very one that was read, so that it never competes with a refresh or a
//! reconnect. Refuses to touch what does not open: its key is not on the ring, or it was tampered with;
//! it is counted and left as it is. docs/keys.md tells how keys are rotated.

use serde_json::json;

use crate::context::Context;
use crate::error::Result;
use crate::ports::Ports;
use crate::store::reseals::{self, ResealPage, ResealProgress, ResealedValue, SealedValue};
use crate::time::Timestamp;
use crate::vault::{SealContext, SealError};

/// Seconds between two passes while there is something to be done: instances of the program that were
/// started with the keys of before may write for a while.
const NEXT_PASS_DELAY: i64 = 600;
/// Seconds until all is looked through again when there was nothing to be done: what was still under way
/// sealed with an older key (an answer that the database would not take, a deployment that was rolled
/// back) is found within a day.
const RECHECK_DELAY: i64 = 24 * 3600;

/// One turn: a page. Answers how many values were sealed again.
pub async fn reseal_page<P: Ports>(context: &Context<P>) -> Result<u64> {
    let key_ring = &context.config.key_ring;
    let (now, limit) = (context.now(), context.config.reseal_batch);
    let page =
        reseals::next_page(context.db(), key_ring.sealing_key_id(), &key_ring.sealing_envelope_prefix(), limit, now)
            .await?;
    let Some(page) = page.filter(|page| page.progress.after.is_some()) else { return Ok(0) };
    let opened = reseal_values(context, &page)?;
    let after = next_progress(&page, opened.resealed.len(), opened.unreadable, now);
    let replaced = reseals::write_page(context.db(), &page.progress, &after, &opened.resealed, now).await?;
    if page.is_last {
        log_pass(context, &after);
    }
    Ok(replaced)
}

struct ResealedPage<'a> {
    resealed: Vec<ResealedValue<'a>>,
    unreadable: i64,
}

fn reseal_values<'a, P: Ports>(
    context: &Context<P>,
    page: &'a ResealPage,
) -> std::result::Result<ResealedPage<'a>, SealError> {
    let key_ring = &context.config.key_ring;
    let mut opened = ResealedPage { resealed: Vec::new(), unreadable: 0 };
    for row in &page.rows {
        let Some(sealed) = &row.sealed else { continue };
        match key_ring.open(&row_seal_context(row), sealed) {
            Ok(text) => {
                opened.resealed.push((row, key_ring.seal(context.ports.random(), &row_seal_context(row), &text)?));
            }
            Err(_) => opened.unreadable += 1,
        }
    }
    Ok(opened)
}

fn row_seal_context(row: &SealedValue) -> SealContext<'_> {
    SealContext::of(row.column.sealed_field(), &row.workspace, &row.id, row.generation)
}

/// Where the walk stands after a page. A pass that changed anything, or found it changed by others, is
/// followed by another; what can't be opened keeps none from being the last.
fn next_progress(page: &ResealPage, renewed: usize, unreadable: i64, now: Timestamp) -> ResealProgress {
    let before = &page.progress;
    let unsettled = before.unsettled + i64::try_from(renewed).unwrap_or(i64::MAX);
    let mut after = ResealProgress { unsettled, unreadable: before.unreadable + unreadable, ..before.clone() };
    if unsettled > 0 {
        after.finished_at = None;
    }
    if page.is_last {
        after.after = None;
        after.next_pass_at = Some(now.plus(if unsettled > 0 { NEXT_PASS_DELAY } else { RECHECK_DELAY }));
        after.finished_at = if unsettled > 0 { None } else { before.finished_at.or(Some(now)) };
    } else if let Some(last) = page.rows.last() {
        after.after = Some((last.id.clone(), last.column as i64));
    }
    after
}

fn log_pass<P: Ports>(context: &Context<P>, progress: &ResealProgress) {
    context.log(
        "info",
        "reseal_pass_ended",
        &json!({
            "key": progress.key_id,
            "pass": progress.pass,
            "unsettled": progress.unsettled,
            "unreadable": progress.unreadable,
            "finished": progress.finished_at.is_some(),
        }),
    );
}
