//! Reads that lock: the only way to a value on which a decision may rest.
//!
//! Each key type names a row; [`Locked::read`] reads it `FOR UPDATE` (or `FOR SHARE`, where it is only to stay as it is) and gives
//! an [`Authoritative`] that borrows from the transaction. On SQLite the transaction holds the only write lock.

use std::sync::Arc;

use once::store::{Row, StoreError, StoreErrorKind, Transaction};
use trueup::{
    Authoritative, LoadError, ReadError,
    engine::{env::BoxFuture, write::LockingRead},
};

use super::DatabaseTx;
use crate::{
    domain::{
        Account, AccountKind, AccountStatus, Currency, Fee, Id, Kyc, KycStatus, Month, Otp, Payment,
        PaymentState, Refund, RefundState, Role, Session, StandingOrder, StandingStatus,
    },
    error::Failed,
};

/// A live transaction, for reads that lock.
#[derive(Clone, Copy, Debug)]
pub struct Locked<'tx> {
    tx: &'tx DatabaseTx,
}

impl<'tx> Locked<'tx> {
    /// Reads in `tx`, which is one that may write.
    #[must_use]
    pub const fn new(tx: &'tx DatabaseTx) -> Self {
        Self { tx }
    }

    /// The row that `key` names, locked until the transaction ends. What it permits ends with the transaction, too:
    ///
    /// ```
    /// # use payments::{domain::{Account, Id, Money, Permit}, store::{DatabaseTx, Locked, WalletOf}};
    /// async fn used(tx: DatabaseTx, id: Id, money: Money) {
    ///     let locked = Locked::new(&tx);
    ///     let account = locked.read::<WalletOf, Account>(&WalletOf { id, tenant: "t".into() }).await.unwrap();
    ///     let _permit = Permit::debit(&account, money).unwrap();
    /// }
    /// ```
    ///
    /// ```compile_fail
    /// # use payments::{domain::{Account, Id, Money, Permit}, store::{DatabaseTx, Locked, WalletOf}};
    /// async fn kept(tx: DatabaseTx, id: Id, money: Money) -> Permit<'static> {
    ///     let locked = Locked::new(&tx);
    ///     let account = locked.read::<WalletOf, Account>(&WalletOf { id, tenant: "t".into() }).await.unwrap();
    ///     Permit::debit(&account, money).unwrap()
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Failed`].
    pub async fn read<K, V>(&'tx self, key: &K) -> Result<Authoritative<'tx, V>, Failed>
    where
        Self: LockingRead<K, V>,
    {
        Authoritative::read(self, key).await.map_err(|error| match error {
            ReadError::Load(LoadError::Unavailable(why)) => Failed::Busy(why.to_string()),
            other => Failed::Broken(other.to_string()),
        })
    }
}

/// Keys, each naming a row of its kind.
macro_rules! keys {
    ($($(#[$doc:meta])* $key:ident($($field:ident: $of:ty),+) -> $value:ty, $lock:literal, $columns:expr, $rest:literal, $read:path;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $key { $(
            /// Part of the row's key.
            pub $field: $of,
        )+ }

        impl LockingRead<$key, $value> for Locked<'_> {
            fn read_locked<'a>(&'a self, key: &'a $key) -> BoxFuture<'a, Result<Option<$value>, LoadError>> {
                Box::pin(async move {
                    $( let $field = key.$field.to_string(); )+
                    let params = [$( (&$field).into() ),+];
                    let sql = format!("SELECT {} {} {}", $columns, $rest, $lock);
                    let row = self.tx.query_row(&sql, &params).await.map_err(|error| failed(&error))?;
                    row.as_ref().map($read).transpose().map_err(|error| failed(&error))
                })
            }
        }
    )+};
}

keys! {
    /// An account, by id and tenant.
    WalletOf(id: Id, tenant: Arc<str>) -> Account, "{for_update}", ACCOUNT, "FROM account WHERE id = $1 AND tenant = $2", account;
    /// A charge, by id and tenant.
    PaymentOf(id: Id, tenant: Arc<str>) -> Payment, "{for_update}", PAYMENT, "FROM payment WHERE id = $1 AND tenant = $2", payment;
    /// A refund, by id and tenant.
    RefundOf(id: Id, tenant: Arc<str>) -> Refund, "{for_update}", REFUND, "FROM refund WHERE id = $1 AND tenant = $2", refund;
    /// A challenge, by id, tenant and person.
    OtpOf(id: Id, tenant: Arc<str>, person: Id) -> Otp, "{for_update}", OTP, "FROM challenge WHERE id = $1 AND tenant = $2 AND person = $3", otp;
    /// A person's identity, which is to stay as it is.
    KycOf(person: Id, tenant: Arc<str>) -> Kyc, "{for_share}", KYC, "FROM kyc WHERE person = $1 AND tenant = $2", kyc;
    /// A line of the fee table, which is to stay as it is.
    FeeOf(tenant: Arc<str>, kind: &'static str, currency: Currency) -> Fee, "{for_share}", FEE, "FROM fee WHERE tenant = $1 AND kind = $2 AND currency = $3", fee;
    /// A session, which is to stay as it is.
    SessionOf(id: Id, tenant: Arc<str>) -> Session, "{for_share}", SESSION, "FROM session WHERE id = $1 AND tenant = $2", session;
    /// A standing order, by id and tenant.
    StandingOf(id: Id, tenant: Arc<str>) -> StandingOrder, "{for_update}", STANDING, "FROM standing_order WHERE id = $1 AND tenant = $2", standing_order;
}

pub(super) const ACCOUNT: &str =
    "id, tenant, owner, kind, currency, balance, held, overdraft, status, version";
pub(super) const PAYMENT: &str =
    "id, tenant, account, minor, fee_minor, currency, state, decline_code, refunded_minor, key_id, version";
pub(super) const REFUND: &str =
    "id, payment, tenant, account, minor, currency, state, decline_code, key_id, version";
const OTP: &str = "id, tenant, person, code_hash, attempts_left, CASE WHEN expires_ms <= {now} THEN 1 ELSE 0 END, CASE WHEN used_ms IS NULL THEN 0 ELSE 1 END";
pub(super) const KYC: &str = "person, tenant, status, version";
pub(super) const FEE: &str = "tenant, kind, currency, fixed_minor, rate_ppm, version";
pub(super) const STANDING: &str = "id, tenant, person, role, from_account, to_account, minor, currency, note, day, first_month, status, version";
pub(super) const SESSION: &str = "id, tenant, person, role, expires_ms, revoked_ms";

fn failed(error: &StoreError) -> LoadError {
    if error.is_transient() {
        return LoadError::Unavailable(error.to_string().into());
    }
    LoadError::Refused(error.to_string().into())
}

/// A text of the database that this version did not write.
fn unknown(what: &str) -> StoreError {
    StoreError::new(
        StoreErrorKind::Usage,
        format!("{what} in the database is not one that this version knows"),
    )
}

pub(super) fn id(row: &Row, place: usize) -> Result<Id, StoreError> {
    row.text(place)?.parse().map_err(|_| unknown("an id"))
}

pub(super) fn currency(row: &Row, place: usize) -> Result<Currency, StoreError> {
    row.text(place)?.parse().map_err(|_| unknown("a currency"))
}

pub(super) fn account(row: &Row) -> Result<Account, StoreError> {
    Ok(Account {
        id: id(row, 0)?,
        tenant: row.text(1)?.to_owned(),
        owner: row.opt_text(2)?.map(|text| text.parse().map_err(|_| unknown("an id"))).transpose()?,
        kind: AccountKind::stored(row.text(3)?).ok_or_else(|| unknown("a kind of account"))?,
        currency: currency(row, 4)?,
        balance: row.int(5)?,
        held: row.int(6)?,
        overdraft: row.int(7)?,
        status: AccountStatus::stored(row.text(8)?).ok_or_else(|| unknown("a status of an account"))?,
        version: row.int(9)?,
    })
}

pub(super) fn payment(row: &Row) -> Result<Payment, StoreError> {
    Ok(Payment {
        id: id(row, 0)?,
        tenant: row.text(1)?.to_owned(),
        account: id(row, 2)?,
        minor: row.int(3)?,
        fee_minor: row.int(4)?,
        currency: currency(row, 5)?,
        state: PaymentState::stored(row.text(6)?).ok_or_else(|| unknown("a state of a payment"))?,
        decline_code: row.opt_text(7)?.map(str::to_owned),
        refunded_minor: row.int(8)?,
        key_id: row.int(9)?,
        version: row.int(10)?,
    })
}

pub(super) fn refund(row: &Row) -> Result<Refund, StoreError> {
    Ok(Refund {
        id: id(row, 0)?,
        payment: id(row, 1)?,
        tenant: row.text(2)?.to_owned(),
        account: id(row, 3)?,
        minor: row.int(4)?,
        currency: currency(row, 5)?,
        state: RefundState::stored(row.text(6)?).ok_or_else(|| unknown("a state of a refund"))?,
        decline_code: row.opt_text(7)?.map(str::to_owned),
        key_id: row.int(8)?,
        version: row.int(9)?,
    })
}

fn otp(row: &Row) -> Result<Otp, StoreError> {
    Ok(Otp {
        id: id(row, 0)?,
        tenant: row.text(1)?.to_owned(),
        person: id(row, 2)?,
        hash: Otp::stored_hash(row.bytes(3)?),
        attempts_left: row.int(4)?,
        is_expired: row.flag(5)?,
        is_used: row.flag(6)?,
    })
}

pub(super) fn kyc(row: &Row) -> Result<Kyc, StoreError> {
    Ok(Kyc {
        person: id(row, 0)?,
        tenant: row.text(1)?.to_owned(),
        status: KycStatus::stored(row.text(2)?).ok_or_else(|| unknown("a status of a person"))?,
        version: row.int(3)?,
    })
}

pub(super) fn fee(row: &Row) -> Result<Fee, StoreError> {
    Ok(Fee {
        tenant: row.text(0)?.to_owned(),
        kind: row.text(1)?.to_owned(),
        currency: currency(row, 2)?,
        fixed_minor: row.int(3)?,
        rate_ppm: row.int(4)?,
        version: row.int(5)?,
    })
}

pub(super) fn month(row: &Row, place: usize) -> Result<Month, StoreError> {
    Month::stored(row.int(place)?).ok_or_else(|| unknown("a month"))
}

pub(super) fn standing_order(row: &Row) -> Result<StandingOrder, StoreError> {
    Ok(StandingOrder {
        id: id(row, 0)?,
        tenant: row.text(1)?.to_owned(),
        person: id(row, 2)?,
        role: Role::stored(row.text(3)?).ok_or_else(|| unknown("a role"))?,
        from: id(row, 4)?,
        to: id(row, 5)?,
        minor: row.int(6)?,
        currency: currency(row, 7)?,
        note: row.opt_text(8)?.map(str::to_owned),
        day: u8::try_from(row.int(9)?).map_err(|_| unknown("a day"))?,
        first_month: month(row, 10)?,
        status: StandingStatus::stored(row.text(11)?)
            .ok_or_else(|| unknown("a status of a standing order"))?,
        version: row.int(12)?,
    })
}

pub(super) fn session(row: &Row) -> Result<Session, StoreError> {
    Ok(Session {
        id: id(row, 0)?,
        tenant: row.text(1)?.to_owned(),
        person: id(row, 2)?,
        role: Role::stored(row.text(3)?).ok_or_else(|| unknown("a role"))?,
        expires_ms: row.int(4)?,
        revoked_ms: row.opt_int(5)?,
    })
}
