//! A class within a tenant cannot be read without one.

use trueup::{Class, KeyPart, ScopeDimension, Scoped, SqlValue};

#[derive(Clone)]
struct Tenant(String);

impl KeyPart for Tenant {
    fn value(&self) -> SqlValue<'_> {
        SqlValue::Text(&self.0)
    }
}

impl ScopeDimension for Tenant {
    const NAME: &'static str = "tenant";
}

async fn read(orders: Class<Scoped<Tenant, i64>, String>) {
    let _ = orders.get(&42).await;
}

fn main() {}
