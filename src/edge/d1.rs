//! The database port over D1.

use worker::wasm_bindgen::JsValue;
use worker::{D1Database, D1PreparedStatement, Env};

use crate::ports::{Database, DatabaseError, Row, Rows, SqlValue, Statement};

pub(crate) struct D1(D1Database);

impl D1 {
    pub(super) fn bind(env: &Env) -> worker::Result<Self> {
        env.d1("DB").map(Self)
    }

    fn prepare(&self, statement: Statement) -> worker::Result<D1PreparedStatement> {
        let values: Vec<JsValue> = statement.params.into_iter().map(js_value).collect();
        self.0.prepare(statement.sql).bind(&values)
    }
}

/// D1 takes numbers as f64: a `BigInt` is a type error there.
fn js_value(value: SqlValue) -> JsValue {
    match value {
        SqlValue::Null => JsValue::NULL,
        #[expect(clippy::cast_precision_loss, reason = "values are within 2^53")]
        SqlValue::Integer(number) => JsValue::from_f64(number as f64),
        SqlValue::Text(text) => JsValue::from_str(&text),
    }
}

impl Database for D1 {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<Rows>, DatabaseError> {
        let prepared: Vec<_> =
            statements.into_iter().map(|one| self.prepare(one)).collect::<Result<_, _>>().map_err(database_error)?;
        let results = self.0.batch(prepared).await.map_err(database_error)?;
        results
            .iter()
            .map(|result| {
                let rows = result
                    .results::<Row>()
                    .map_err(|_| DatabaseError::Malformed("rows of an unexpected form".into()))?;
                let changes = result.meta().ok().flatten().and_then(|meta| meta.changes).unwrap_or(0);
                Ok(Rows { rows, changes: changes as u64 })
            })
            .collect()
    }
}

/// D1 tells what failed by a text only.
fn database_error(error: worker::Error) -> DatabaseError {
    let text = match error {
        worker::Error::D1(error) => error.cause(),
        other => other.to_string(),
    };
    DatabaseError::from_message(&text)
}
