//! Rows of `identity_providers`: where the people of a workspace sign in.

use super::{Columns, FromRow, StoreResult, json_text, query_all, query_first};
use crate::identity_provider::{IdentityProvider, ProviderClientAuth};
use crate::ids::{ClientId, WorkspaceId};
use crate::ports::{Database, DatabaseError, Statement};
use crate::sql;

const GET: &str = "SELECT * FROM identity_providers WHERE workspace_id = ?1
    AND EXISTS (SELECT 1 FROM workspaces w WHERE w.id = ?1 AND w.deleted_at IS NULL)";
const BY_ID: &str = "SELECT * FROM identity_providers WHERE id = ?1
    AND EXISTS (SELECT 1 FROM workspaces w WHERE w.id = identity_providers.workspace_id AND w.deleted_at IS NULL)";
/// Two: whether there is only one.
const FIRST_TWO: &str = "SELECT * FROM identity_providers
    WHERE EXISTS (SELECT 1 FROM workspaces w WHERE w.id = identity_providers.workspace_id AND w.deleted_at IS NULL) ORDER BY id LIMIT 2";
const DELETE_OTHER: &str = "DELETE FROM identity_providers WHERE workspace_id = ?1 AND id <> ?2";
const PUT: &str =
    "INSERT INTO identity_providers (id, workspace_id, issuer, client_id, sealed_secret, client_auth, authorize_url, token_url,
      keys_url, sends_issuer, allowed_domains, admin_groups, created_at, updated_at, revision)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?13, ?14)
    ON CONFLICT (id) DO UPDATE SET issuer = excluded.issuer, client_id = excluded.client_id, sealed_secret = excluded.sealed_secret,
      client_auth = excluded.client_auth, authorize_url = excluded.authorize_url, token_url = excluded.token_url,
      keys_url = excluded.keys_url, sends_issuer = excluded.sends_issuer, allowed_domains = excluded.allowed_domains,
      admin_groups = excluded.admin_groups, updated_at = excluded.updated_at, revision = excluded.revision";
const DELETE: &str = "DELETE FROM identity_providers WHERE workspace_id = ?1";

impl FromRow for IdentityProvider {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        let unknown = || DatabaseError::Malformed("column client_auth holds an unknown value".into());
        Ok(Self {
            id: row.id("id")?,
            workspace: row.id("workspace_id")?,
            issuer: row.text("issuer")?,
            client_id: row.text("client_id")?,
            sealed_secret: row.text("sealed_secret")?,
            client_auth: ProviderClientAuth::parse(&row.text("client_auth")?).ok_or_else(unknown)?,
            authorize_url: row.text("authorize_url")?,
            token_url: row.text("token_url")?,
            keys_url: row.text("keys_url")?,
            sends_issuer: row.boolean("sends_issuer")?,
            allowed_domains: row.json("allowed_domains")?,
            admin_groups: row.json("admin_groups")?,
            revision: row.text("revision")?,
            created_at: row.time("created_at")?,
            updated_at: row.time("updated_at")?,
        })
    }
}

/// The identity provider of a workspace.
pub async fn get(db: &impl Database, workspace: &WorkspaceId) -> StoreResult<Option<IdentityProvider>> {
    query_first(db, sql!(GET, workspace)).await
}

/// The same, by its own id.
pub async fn get_by_id(db: &impl Database, id: &ClientId) -> StoreResult<Option<IdentityProvider>> {
    query_first(db, sql!(BY_ID, id)).await
}

/// The only identity provider of all workspaces in this database. None if there are several, or none.
pub async fn get_only(db: &impl Database) -> StoreResult<(Option<IdentityProvider>, bool)> {
    let mut found = query_all::<_, IdentityProvider>(db, sql!(FIRST_TWO)).await?;
    let has_any = !found.is_empty();
    let only = if found.len() == 1 { found.pop() } else { None };
    Ok((only, has_any))
}

/// The statements that store an identity provider in place of the one before.
pub fn put(provider: &IdentityProvider) -> [Statement; 2] {
    let store = sql!(
        PUT,
        &provider.id,
        &provider.workspace,
        provider.issuer.as_str(),
        provider.client_id.as_str(),
        provider.sealed_secret.as_str(),
        provider.client_auth.as_str(),
        provider.authorize_url.as_str(),
        provider.token_url.as_str(),
        provider.keys_url.as_str(),
        provider.sends_issuer,
        json_text(&provider.allowed_domains),
        json_text(&provider.admin_groups),
        provider.updated_at,
        provider.revision.as_str()
    );
    [sql!(DELETE_OTHER, &provider.workspace, &provider.id), store]
}

/// The statement that removes the identity provider of a workspace.
pub fn delete(workspace: &WorkspaceId) -> Statement {
    sql!(DELETE, workspace)
}
