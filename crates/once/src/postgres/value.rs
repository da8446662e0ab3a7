//! Values on PostgreSQL's wire.

use std::error::Error;

use bytes::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use crate::store::{Cell, Row, StoreError, StoreErrorKind, Value};

/// A parameter, written in the type that the statement asks for.
#[derive(Debug)]
pub(super) struct Param<'a>(pub(super) Value<'a>);

impl Param<'_> {
    /// The type that a statement is told where it has not been prepared before.
    pub(super) const fn kind(&self) -> Type {
        match self.0 {
            Value::Null => Type::UNKNOWN,
            Value::Bool(_) => Type::BOOL,
            Value::Int(_) => Type::INT8,
            Value::Text(_) => Type::TEXT,
            Value::Bytes(_) => Type::BYTEA,
        }
    }
}

pub(super) fn params_of<'a>(params: &'a [Param<'a>]) -> Vec<&'a (dyn ToSql + Sync)> {
    params.iter().map(|param| param as &(dyn ToSql + Sync)).collect()
}

impl ToSql for Param<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match (self.0, ty) {
            (Value::Null, _) => Ok(IsNull::Yes),
            (Value::Bool(value), &Type::BOOL) => value.to_sql(ty, out),
            (Value::Int(value), &Type::INT8) => value.to_sql(ty, out),
            (Value::Int(value), &Type::INT4) => i32::try_from(value)?.to_sql(ty, out),
            (Value::Int(value), &Type::INT2) => i16::try_from(value)?.to_sql(ty, out),
            (
                Value::Text(value),
                &(Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN),
            ) => value.to_sql(ty, out),
            (Value::Bytes(value), &Type::BYTEA) => value.to_sql(ty, out),
            (value, ty) => {
                Err(format!("a parameter of kind {value:?} was given for {ty}; cast it in the statement")
                    .into())
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// A row as both databases give it.
pub(super) fn row_of(row: &tokio_postgres::Row) -> Result<Row, StoreError> {
    let mut cells = Vec::with_capacity(row.len());
    for (place, column) in row.columns().iter().enumerate() {
        let cell = match *column.type_() {
            Type::BOOL => row.try_get::<_, Option<bool>>(place).map(|v| v.map(|v| Cell::Int(v.into()))),
            Type::INT8 => row.try_get::<_, Option<i64>>(place).map(|v| v.map(Cell::Int)),
            Type::INT4 => row.try_get::<_, Option<i32>>(place).map(|v| v.map(|v| Cell::Int(v.into()))),
            Type::INT2 => row.try_get::<_, Option<i16>>(place).map(|v| v.map(|v| Cell::Int(v.into()))),
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN => {
                row.try_get::<_, Option<String>>(place).map(|v| v.map(Cell::Text))
            }
            Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(place).map(|v| v.map(Cell::Bytes)),
            ref other => {
                let reason = format!("column {place} is of type {other}; cast it to bigint, text or bytea");
                return Err(StoreError::new(StoreErrorKind::Usage, reason));
            }
        };
        let cell =
            cell.map_err(|why| StoreError::new(StoreErrorKind::Usage, format!("column {place}: {why}")))?;
        cells.push(cell.unwrap_or(Cell::Null));
    }
    Ok(Row::new(cells))
}
