//! Sessions of people, as they were when they were read here. A page asks the database whether one is still so, together
//! with what it shows. Bounded in number and bytes.

use std::cell::RefCell;
use std::rc::Rc;

use super::entries::BoundedMap;
use crate::ids::{ApiKeyId, WorkspaceId};
use crate::time::Timestamp;

/// A person's session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownSession {
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// The person's id.
    pub user_id: String,
    /// The person's name.
    pub user_name: Option<String>,
    /// Whether the person is an admin.
    pub is_admin: bool,
    /// The key that created the link it was opened with.
    pub made_by: Option<ApiKeyId>,
    /// When it began.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// The sessions, by the hashes of their tokens.
#[derive(Debug, Default)]
pub struct SessionMemory(RefCell<BoundedMap<Rc<KnownSession>>>);

impl SessionMemory {
    /// A session that was read here.
    pub fn get(&self, hash: &str) -> Option<Rc<KnownSession>> {
        self.0.borrow().get(hash).cloned()
    }

    /// Remembers a session.
    pub fn remember(&self, hash: &str, session: KnownSession) {
        let length = size_of::<KnownSession>()
            + session.user_id.len()
            + session.user_name.as_ref().map_or(0, String::len)
            + session.workspace.as_str().len();
        self.0.borrow_mut().insert(hash, Rc::new(session), length);
    }

    /// Forgets a session that has ended or was changed.
    pub fn forget(&self, hash: &str) {
        self.0.borrow_mut().remove(hash);
    }
}
