//! Re-sealing: what another key than the first sealed is sealed again under the first, in the background.
//!
//! Owns the decision what is sealed again and when all is done. A turn looks at one page of places and
//! writes what it changed together with its cursor; a turn that dies loses nothing. Every value is
//! replaced only while it is the very one that was read, so that it never competes with a refresh or a
//! reconnect. Refuses to touch what does not open: its key is not on the ring, or it was tampered with;
//! it is counted and left as it is. docs/keys.md tells how keys are rotated.

use serde_json::json;

use crate::core::Core;
use crate::error::Result;
use crate::ports::Ports;
use crate::store::reseals::{self, Looked, Page, Progress, Renewed};
use crate::time::Timestamp;
use crate::vault::{Place, SealError};

/// Seconds between two passes while there is something to be done: instances of the program that were
/// started with the keys of before may write for a while.
const NEXT_PASS: i64 = 600;
/// Seconds until all is looked through again when there was nothing to be done: what was still under way
/// sealed with an older key (an answer that the database would not take, a deployment that was rolled
/// back) is found within a day.
const LOOK_AGAIN: i64 = 24 * 3600;

/// One turn: a page. Answers how many values were sealed again.
pub async fn turn<P: Ports>(core: &Core<P>) -> Result<u64> {
    let ring = &core.config.ring;
    let (now, limit) = (core.now(), core.config.reseal_batch);
    let page = reseals::next_page(core.db(), ring.sealing_id(), &ring.sealing_prefix(), limit, now).await?;
    let Some(page) = page.filter(|page| page.progress.after.is_some()) else { return Ok(0) };
    let opened = seal_again(core, &page)?;
    let after = advanced(&page, opened.renewed.len(), opened.unreadable, now);
    let replaced = reseals::write_page(core.db(), &page.progress, &after, &opened.renewed, now).await?;
    if page.is_last {
        tell(core, &after);
    }
    Ok(replaced)
}

struct Opened<'a> {
    renewed: Vec<Renewed<'a>>,
    unreadable: i64,
}

fn seal_again<'a, P: Ports>(core: &Core<P>, page: &'a Page) -> std::result::Result<Opened<'a>, SealError> {
    let ring = &core.config.ring;
    let mut opened = Opened { renewed: Vec::new(), unreadable: 0 };
    for row in &page.rows {
        let Some(sealed) = &row.sealed else { continue };
        match ring.open(&place(row), sealed) {
            Ok(text) => opened.renewed.push((row, ring.seal(core.ports.random(), &place(row), &text)?)),
            Err(_) => opened.unreadable += 1,
        }
    }
    Ok(opened)
}

fn place(row: &Looked) -> Place<'_> {
    Place::of(row.column.sealed_field(), &row.workspace, &row.id, row.generation)
}

/// Where the walk stands after a page. A pass that changed anything, or found it changed by others, is
/// followed by another; what can't be opened keeps none from being the last.
fn advanced(page: &Page, renewed: usize, unreadable: i64, now: Timestamp) -> Progress {
    let before = &page.progress;
    let unsettled = before.unsettled + i64::try_from(renewed).unwrap_or(i64::MAX);
    let mut after = Progress { unsettled, unreadable: before.unreadable + unreadable, ..before.clone() };
    if unsettled > 0 {
        after.finished_at = None;
    }
    if page.is_last {
        after.after = None;
        after.next_pass_at = Some(now.plus(if unsettled > 0 { NEXT_PASS } else { LOOK_AGAIN }));
        after.finished_at = if unsettled > 0 { None } else { before.finished_at.or(Some(now)) };
    } else if let Some(last) = page.rows.last() {
        after.after = Some((last.id.clone(), last.column as i64));
    }
    after
}

fn tell<P: Ports>(core: &Core<P>, progress: &Progress) {
    core.log(
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
