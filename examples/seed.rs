//! Fills a local database with connections whose credentials open, for `npm run seed` and `npm run bench -- --scale`.
//!
//! `seed FILE CONNECTIONS WORKSPACES NOW`; the key ring is in `ENCRYPTION_KEYS`. The rows are written by the program's
//! own statements, and the credentials sealed by its own code. Uses bounded memory, and one transaction for each
//! thousand connections. Only new rows: what is there stays. Refuses a file that is no database of this program.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{IsTerminal as _, Write as _};

use connections::account::Account;
use connections::app::{AppId, AuthMethodId, CredentialKind};
use connections::audit::{Actor, EventType};
use connections::branding::Branding;
use connections::client::Client;
use connections::connection::{Connection, ConnectionStatus};
use connections::credential::Credential;
use connections::ids::{ClientId, ConnectionId, EventId, Shard, WorkspaceId};
use connections::ports::{Database, DatabaseError, Row, Rows, SqlValue, Statement};
use connections::random::{NoRandomness, Random};
use connections::secret::Secret;
use connections::store::{clients, connections as rows, events, workspaces};
use connections::time::Timestamp;
use connections::token::{SecretJson, TokenSet};
use connections::vault::KeyRing;
use connections::workspace::{User, Workspace};
use ring::rand::{SecureRandom as _, SystemRandom};

/// Apps of the catalogue that the connections are made for.
const APPS: [&str; 3] = ["github", "slack", "notion"];
/// Connections that one workflow uses.
const SHARING: i64 = 10;
/// Characters of an access and of a refresh token: 900 together, as those of several large apps.
const TOKEN_CHARS: usize = 450;
const TRANSACTION: i64 = 1_000;
const DAY: i64 = 86_400;

type Done<T = ()> = Result<T, Box<dyn Error>>;

struct Randomness(SystemRandom);

impl Random for Randomness {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoRandomness> {
        self.0.fill(buffer).map_err(|_| NoRandomness)
    }
}

/// The file, as the program's port. A caller opens the transaction.
struct LocalDatabase(rusqlite::Connection);

impl LocalDatabase {
    fn run(&self, statement: &Statement) -> rusqlite::Result<u64> {
        let values = statement.params.iter().map(|value| match value {
            SqlValue::Null => rusqlite::types::Value::Null,
            SqlValue::Integer(number) => (*number).into(),
            SqlValue::Text(text) => text.clone().into(),
        });
        let mut prepared = self.0.prepare_cached(&statement.sql)?;
        Ok(u64::try_from(prepared.execute(rusqlite::params_from_iter(values))?).unwrap_or(0))
    }
}

impl Database for LocalDatabase {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<Rows>, DatabaseError> {
        let run = |statement: &Statement| {
            let changes = self.run(statement).map_err(|error| DatabaseError::Unavailable(error.to_string()))?;
            Ok(Rows { rows: Vec::<Row>::new(), changes })
        };
        statements.iter().map(run).collect()
    }
}

struct Seed {
    db: LocalDatabase,
    random: Randomness,
    key_ring: KeyRing,
    now: Timestamp,
}

impl Seed {
    fn text(&self, chars: usize) -> Done<String> {
        let mut bytes = vec![0; chars.div_ceil(2)];
        self.random.fill(&mut bytes).map_err(|_| "no randomness")?;
        let digit = |half: u8| char::from_digit(u32::from(half), 16);
        Ok(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).flatten().take(chars).collect())
    }

    /// The workspaces that are there, and new ones until there are enough, each with a client for each app.
    fn workspaces(&self, wanted: usize) -> Done<Vec<(WorkspaceId, Vec<ClientId>)>> {
        let mut select =
            self.db.0.prepare("SELECT id FROM workspaces WHERE deleted_at IS NULL ORDER BY created_at, id")?;
        let ids: Vec<String> = select.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let mut found: Vec<_> = ids.iter().filter_map(|id| WorkspaceId::parse(id)).take(wanted).collect();
        while found.len() < wanted {
            let id = WorkspaceId::random(&self.random, Shard::FIRST)?;
            let (name, allowed_origins) = (format!("Seeded {}", found.len() + 1), vec![]);
            self.db.run(&workspaces::insert(&Workspace {
                id: id.clone(),
                name,
                allowed_origins,
                branding: Branding::default(),
                created_at: self.now,
            }))?;
            found.push(id);
        }
        found
            .into_iter()
            .map(|id| Ok((id.clone(), APPS.iter().map(|app| self.client(&id, app)).collect::<Done<_>>()?)))
            .collect()
    }

    fn client(&self, workspace: &WorkspaceId, app: &str) -> Done<ClientId> {
        let id = ClientId::random(&self.random, Shard::FIRST)?;
        let client = Client {
            id: id.clone(),
            workspace: workspace.clone(),
            registration: app.to_owned(),
            client_id: format!("seeded-{}", self.text(8)?),
            sealed_secret: None,
            sealed_event_secret: None,
            event_secret_received_at: None,
            scopes: None,
            redirect_id: id.clone(),
            authorization_server: None,
            destinations: None,
            hosts: std::collections::BTreeSet::new(),
            variables: BTreeMap::new(),
            secret_expires_at: None,
            current: true,
            misconfigured: None,
            backoff_until: Timestamp::from_unix(0),
            failures: 0,
            created_at: self.now,
            updated_at: self.now,
        };
        futures_executor::block_on(clients::put(&self.db, &client, false))?;
        Ok(id)
    }

    /// The connection with this number in its workspace, with two uses and three events. Most work, one of fifty needs a reconnect.
    fn connection(&self, number: i64, workspace: &WorkspaceId, app: &str, client: &ClientId) -> Done {
        let id = ConnectionId::random(&self.random, Shard::FIRST)?;
        // In the order of time, as they are made in life: the indexes by time are as full as theirs.
        let made = self.now.plus(number * 7 % (59 * DAY) - 60 * DAY);
        let tokens = TokenSet {
            access_token: Secret::new(self.text(TOKEN_CHARS)?),
            token_type: "Bearer".to_owned(),
            refresh_token: Some(Secret::new(self.text(TOKEN_CHARS)?)),
            expires_at: Some(self.now.plus(30 * DAY)),
            lifetime: Some(30 * DAY),
            expires_at_latest: None,
            refresh_expires_at: None,
            scopes: None,
            additional: BTreeMap::new(),
            owner: None,
            response: SecretJson::default(),
        };
        let place = Credential::seal_context(workspace, &id, 1);
        let sealed = Credential::from_tokens(&tokens).seal(&self.key_ring, &self.random, &place)?;
        let is_broken = number % 50 == 49;
        let person = number / 3;
        let scopes = vec!["read".to_owned(), "write".to_owned()];
        let connection = Connection {
            id: id.clone(),
            workspace: workspace.clone(),
            app: AppId::parse(app).ok_or("no app")?,
            app_revision: 0,
            auth_method: AuthMethodId::parse("oauth2").ok_or("no method")?,
            kind: CredentialKind::OAuth2,
            variables: BTreeMap::new(),
            destinations: None,
            client: Some(client.clone()),
            name: format!("{app} of person {person}"),
            user: Some(User { id: format!("person-{person}"), name: Some(format!("Person {person}")) }),
            shared: false,
            environment: None,
            metadata: BTreeMap::new(),
            allowed_workflows: None,
            account: Some(Account { id: format!("{number}"), label: format!("person-{person}@customer.example") }),
            scopes_requested: scopes.clone(),
            scopes_granted: scopes,
            created_at: made,
            connected_at: made,
            last_used_at: None,
            generation: 1,
            version: 1,
            status: if is_broken { ConnectionStatus::NeedsReconnect } else { ConnectionStatus::Connected },
            reason: None,
            sealed_credential: Some(sealed),
            expires_at: Some(self.now.plus(30 * DAY)),
            // The tokens are made up: nothing may send them to a real app by itself.
            refreshable: false,
            refreshed_at: None,
            refresh_expires_at: None,
            refresh_idle_until: None,
            grant_expires_at: None,
            lease: None,
            ambiguous_token_hash: None,
            ambiguous_since: None,
            next_attempt_at: Timestamp::from_unix(0),
            failures: 0,
            last_error: None,
            refusal: None,
            checked_at: Some(made),
            check_evidence: Some("connected".to_owned()),
            next_check_at: None,
            nothing_shared: None,
            definition_changed: None,
        };
        self.db.run(&rows::insert(&connection))?;
        for (step, at) in [("fetch", made), ("send", made.plus(60))] {
            let workflow = format!("workflow {}", number / SHARING);
            let mut insert = self.db.0.prepare_cached(
                "INSERT INTO uses (connection_id, workflow, step, workspace_id, first_used_at, last_used_at, active_days)
                VALUES (?1, ?2, ?3, ?4, ?5, ?5, 1)",
            )?;
            insert.execute((id.as_str(), workflow, step, workspace.as_str(), at.unix()))?;
        }
        self.db
            .0
            .prepare_cached(
                "UPDATE connections SET used_by_workflows = 1, used_by_steps = 2, last_used_at = ?2 WHERE id = ?1",
            )?
            .execute((id.as_str(), made.plus(60).unix()))?;
        let person = Actor::User(format!("person-{person}"));
        for (event, actor) in
            [(EventType::Connected, &person), (EventType::Edited, &person), (EventType::Reconnected, &person)]
        {
            let event = events::NewEvent {
                subject: events::EventSubject { connection: Some(&id), ..events::EventSubject::default() },
                origin: &connections::audit::RequestOrigin::default(),
                id: EventId::random(&self.random, Shard::FIRST)?,
                at: made,
                event,
                actor,
                detail: None,
            };
            self.db.run(&events::insert(workspace, &event))?;
        }
        Ok(())
    }
}

/// Writes over one line, or a line for each tenth where nobody looks on.
fn show_progress(done: i64, all: i64) -> Done {
    let mut out = std::io::stderr();
    let percent = done * 100 / all.max(1);
    let bar: String = (0..50).map(|at| if at * 2 < percent { '#' } else { '.' }).collect();
    if out.is_terminal() {
        write!(out, "\r[{bar}] {percent} % of {all} connections")?;
    } else if done * 10 / all != (done - TRANSACTION).max(0) * 10 / all {
        writeln!(out, "{percent} % of {all} connections")?;
    }
    if done >= all && out.is_terminal() {
        writeln!(out)?;
    }
    Ok(())
}

fn main() -> Done {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [file, number, wanted, now] = arguments.as_slice() else {
        return Err("seed FILE CONNECTIONS WORKSPACES NOW".into());
    };
    let key_ring = KeyRing::parse(&std::env::var("ENCRYPTION_KEYS")?)?;
    let sqlite = rusqlite::Connection::open_with_flags(file, rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    sqlite.set_prepared_statement_cache_capacity(64);
    sqlite.execute_batch(
        "PRAGMA foreign_keys = ON; PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA cache_size = -200000",
    )?;
    let (number, wanted, now) = (number.parse::<i64>()?, wanted.parse::<usize>()?, now.parse::<i64>()?);
    let seed = Seed {
        db: LocalDatabase(sqlite),
        random: Randomness(SystemRandom::new()),
        key_ring,
        now: Timestamp::from_unix(now),
    };
    seed.db.0.execute_batch("BEGIN IMMEDIATE")?;
    let workspaces = seed.workspaces(wanted.max(1))?;
    for at in 0..number {
        let place = usize::try_from(at)?;
        let (workspace, clients) = workspaces.get(place % workspaces.len()).ok_or("no workspace")?;
        let in_workspace = place / workspaces.len();
        let which = in_workspace % APPS.len();
        let (app, client) = APPS.get(which).zip(clients.get(which)).ok_or("no app")?;
        seed.connection(i64::try_from(in_workspace)?, workspace, app, client)?;
        if (at + 1) % TRANSACTION == 0 {
            seed.db.0.execute_batch("COMMIT; BEGIN IMMEDIATE")?;
            show_progress(at + 1, number)?;
        }
    }
    seed.db.0.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)")?;
    show_progress(number, number)
}
