//! The database port over D1. Its time limit is a timer of JavaScript, which costs no crossing.

use std::rc::Rc;

use serde::Deserialize;
use worker::Env;
use worker::js_sys::{Array, Function, Reflect};
use worker::wasm_bindgen::JsValue;

use super::{glue, promises};
use crate::ids::Shard;
use crate::ports::{Database, DatabaseError, Row, Rows, SqlValue, Statement};
use crate::timeout::{DATABASE_TIMEOUT_MS, silent_database_error};

/// The binding. Another Worker's mistake in `wrangler.toml` shows at the first call.
pub(crate) struct D1(JsValue);

impl D1 {
    /// The names of all bindings of databases, and of whatever else is an object.
    pub(super) fn names(env: &Env) -> Vec<String> {
        let is_object = |name: &JsValue| Reflect::get(env, name).is_ok_and(|binding| binding.is_object());
        let names = Reflect::own_keys(env).map(|names| names.to_vec()).unwrap_or_default();
        names.into_iter().filter(is_object).filter_map(|name| name.as_string()).collect()
    }

    /// The binding of a shard, if there is one.
    pub(super) fn bind(env: &Env, shard: Shard) -> Option<Self> {
        let binding = Reflect::get(env, &JsValue::from_str(&shard.binding())).ok()?;
        binding.is_object().then_some(Self(binding))
    }
}

/// What one statement answered, as `glue.js` writes it.
#[derive(Deserialize)]
struct StatementResult {
    columns: Vec<String>,
    rows: Vec<Vec<SqlValue>>,
    changes: u64,
}

impl From<StatementResult> for Rows {
    fn from(result: StatementResult) -> Self {
        let StatementResult { columns, rows, changes } = result;
        let columns: Rc<[String]> = columns.into();
        Self { rows: rows.into_iter().map(|values| Row::new(columns.clone(), values)).collect(), changes }
    }
}

impl Database for D1 {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<Rows>, DatabaseError> {
        let texts: Array = statements.iter().map(|one| glue::sql(&one.sql)).collect();
        let values: Vec<&[SqlValue]> = statements.iter().map(|one| one.params.as_slice()).collect();
        let values = serde_json::to_string(&values).map_err(|_| malformed())?;
        let begin = |settle: &Function, number| {
            glue::batch(&self.0, &texts, &values, DATABASE_TIMEOUT_MS, settle, number);
        };
        let settled = promises::wait(begin).await;
        let settled = settled.map_err(|error| DatabaseError::from_message(&glue::message(&error)))?;
        let text = settled.as_string().ok_or_else(silent_database_error)?;
        let results: Vec<StatementResult> = serde_json::from_str(&text).map_err(|_| malformed())?;
        Ok(results.into_iter().map(Rows::from).collect())
    }
}

fn malformed() -> DatabaseError {
    DatabaseError::Malformed("rows of an unexpected form".into())
}
