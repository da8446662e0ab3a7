//! Permission to change an account. It is given on what was read and locked in the transaction that acts on it, and it does
//! not outlive that transaction.

use std::marker::PhantomData;

use trueup::Authoritative;

use super::{Account, AccountStatus, Currency, Id, Money};

/// Why an account may not be changed so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such account.
    #[error("there is no such account")]
    Unknown,
    /// It is of another currency.
    #[error("the account is in another currency")]
    Currency,
    /// It does not pay.
    #[error("the account is frozen and does not pay")]
    Frozen,
    /// It takes no part any more.
    #[error("the account is closed")]
    Closed,
    /// It has less to spend.
    #[error("the account has not enough to spend")]
    Funds,
    /// More is released or captured than was held.
    #[error("less is held than is to be taken from the hold")]
    Hold,
    /// Its balance would leave the range of numbers.
    #[error("the balance would become too large")]
    Range,
}

/// What may be done to one account, once, in the transaction of `'tx`.
///
/// ```
/// use payments::domain::{Account, Money, Permit, Refused};
/// use trueup::Authoritative;
///
/// fn pay<'tx>(locked: &Authoritative<'tx, Account>, money: Money) -> Result<Permit<'tx>, Refused> {
///     Permit::debit(locked, money)
/// }
/// ```
///
/// There is no way to make one of a [`Cached`](trueup::Cached) account: a balance that is shown authorises nothing.
///
/// ```compile_fail,E0308
/// use payments::domain::{Account, Money, Permit};
/// use trueup::Cached;
///
/// fn pay(shown: &Cached<Account>, money: Money) {
///     let _ = Permit::debit(shown, money);
/// }
/// ```
#[derive(Debug)]
#[must_use = "a permit changes nothing until it is used"]
pub struct Permit<'tx> {
    account: Id,
    currency: Currency,
    balance_change: i64,
    held_change: i64,
    transaction: PhantomData<&'tx ()>,
}

impl<'tx> Permit<'tx> {
    /// To take `money` away.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn debit(account: &Authoritative<'tx, Account>, money: Money) -> Result<Self, Refused> {
        let row = paying(account, money)?;
        Self::of(row, -money.minor(), 0)
    }

    /// To add `money`.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn credit(account: &Authoritative<'tx, Account>, money: Money) -> Result<Self, Refused> {
        let row = in_currency(account, money)?;
        Self::of(row, money.minor(), 0)
    }

    /// To add `money` that has arrived already, whatever became of the account meanwhile: it is nobody else's.
    ///
    /// # Errors
    /// [`Refused::Unknown`], [`Refused::Currency`], [`Refused::Range`].
    pub fn arrive(account: &Authoritative<'tx, Account>, money: Money) -> Result<Self, Refused> {
        let row = account.value().ok_or(Refused::Unknown)?;
        if row.currency != money.currency {
            return Err(Refused::Currency);
        }
        Self::of(row, money.minor(), 0)
    }

    /// To promise `money` to a payment under way.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn hold(account: &Authoritative<'tx, Account>, money: Money) -> Result<Self, Refused> {
        let row = paying(account, money)?;
        Self::of(row, 0, money.minor())
    }

    /// To take away what was promised. Whether the account may pay was decided when it was promised.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn capture(account: &Authoritative<'tx, Account>, money: Money) -> Result<Self, Refused> {
        let row = holding(account, money)?;
        Self::of(row, -money.minor(), -money.minor())
    }

    /// To give back what was promised.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn release(account: &Authoritative<'tx, Account>, money: Money) -> Result<Self, Refused> {
        let row = holding(account, money)?;
        Self::of(row, 0, -money.minor())
    }

    fn of(row: &Account, balance_change: i64, held_change: i64) -> Result<Self, Refused> {
        row.balance.checked_add(balance_change).ok_or(Refused::Range)?;
        row.held.checked_add(held_change).ok_or(Refused::Range)?;
        let (account, currency) = (row.id, row.currency);
        Ok(Self { account, currency, balance_change, held_change, transaction: PhantomData })
    }

    /// The account.
    #[must_use]
    pub const fn account(&self) -> Id {
        self.account
    }

    /// Its currency.
    #[must_use]
    pub const fn currency(&self) -> Currency {
        self.currency
    }

    /// What the balance gains (above zero) or loses, in minor units.
    #[must_use]
    pub const fn balance_change(&self) -> i64 {
        self.balance_change
    }

    /// What is promised in addition, or less, in minor units.
    #[must_use]
    pub const fn held_change(&self) -> i64 {
        self.held_change
    }
}

fn in_currency<'a>(account: &'a Authoritative<'_, Account>, money: Money) -> Result<&'a Account, Refused> {
    let row = account.value().ok_or(Refused::Unknown)?;
    if row.currency != money.currency {
        return Err(Refused::Currency);
    }
    if row.status == AccountStatus::Closed {
        return Err(Refused::Closed);
    }
    Ok(row)
}

fn paying<'a>(account: &'a Authoritative<'_, Account>, money: Money) -> Result<&'a Account, Refused> {
    let row = in_currency(account, money)?;
    if row.status == AccountStatus::Frozen {
        return Err(Refused::Frozen);
    }
    if row.available() < i128::from(money.minor()) {
        return Err(Refused::Funds);
    }
    Ok(row)
}

fn holding<'a>(account: &'a Authoritative<'_, Account>, money: Money) -> Result<&'a Account, Refused> {
    let row = account.value().ok_or(Refused::Unknown)?;
    if row.currency != money.currency {
        return Err(Refused::Currency);
    }
    if row.held < money.minor() {
        return Err(Refused::Hold);
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trueup::{
        LoadError,
        engine::{env::BoxFuture, write::LockingRead},
    };

    use super::*;
    use crate::domain::AccountKind;

    /// Stands for a transaction that has locked this row.
    struct Row(Option<Account>);

    impl LockingRead<(), Account> for Row {
        fn read_locked<'a>(&'a self, _: &'a ()) -> BoxFuture<'a, Result<Option<Account>, LoadError>> {
            Box::pin(std::future::ready(Ok(self.0.clone())))
        }
    }

    fn row(balance: i64, held: i64, overdraft: i64, status: AccountStatus) -> Row {
        let id = "0197b1f0-7c4a-7d8e-9f10-3b1c5a7e2d44".parse().unwrap();
        let (tenant, kind, currency) = ("t".to_owned(), AccountKind::Wallet, Currency::EUR);
        Row(Some(Account {
            id,
            tenant,
            owner: None,
            kind,
            currency,
            balance,
            held,
            overdraft,
            status,
            version: 1,
        }))
    }

    fn eur(minor: i64) -> Money {
        Money::new(minor, Currency::EUR).unwrap()
    }

    async fn read(row: &Row) -> Authoritative<'_, Account> {
        Authoritative::read(row, &()).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_held_is_spent_no_second_time() {
        let open = row(100, 60, 0, AccountStatus::Open);
        let account = read(&open).await;
        assert_eq!(Permit::debit(&account, eur(41)).unwrap_err(), Refused::Funds);
        assert_eq!(Permit::debit(&account, eur(40)).unwrap().balance_change(), -40);
        assert_eq!(Permit::hold(&account, eur(41)).unwrap_err(), Refused::Funds);
        assert_eq!(Permit::capture(&account, eur(61)).unwrap_err(), Refused::Hold);
        assert_eq!(Permit::release(&account, eur(61)).unwrap_err(), Refused::Hold);
        let captured = Permit::capture(&account, eur(60)).unwrap();
        assert_eq!((captured.balance_change(), captured.held_change()), (-60, -60));
    }

    #[tokio::test]
    async fn who_is_frozen_or_closed_does_not_pay() {
        let frozen = row(100, 10, 0, AccountStatus::Frozen);
        let account = read(&frozen).await;
        assert_eq!(Permit::debit(&account, eur(1)).unwrap_err(), Refused::Frozen);
        assert!(Permit::credit(&account, eur(1)).is_ok());
        assert!(Permit::capture(&account, eur(10)).is_ok(), "it was promised before");
        let closed = row(100, 0, 0, AccountStatus::Closed);
        let account = read(&closed).await;
        assert_eq!(Permit::credit(&account, eur(1)).unwrap_err(), Refused::Closed);
        assert_eq!(Permit::debit(&read(&Row(None)).await, eur(1)).unwrap_err(), Refused::Unknown);
        let czk = Money::new(1, Currency::CZK).unwrap();
        assert_eq!(Permit::debit(&read(&frozen).await, czk).unwrap_err(), Refused::Currency);
    }

    #[tokio::test]
    async fn an_overdraft_is_a_floor() {
        let poor = row(-20, 0, 50, AccountStatus::Open);
        let account = read(&poor).await;
        assert!(Permit::debit(&account, eur(30)).is_ok());
        assert_eq!(Permit::debit(&account, eur(31)).unwrap_err(), Refused::Funds);
        let full = row(i64::MAX, 0, 0, AccountStatus::Open);
        assert_eq!(Permit::credit(&read(&full).await, eur(1)).unwrap_err(), Refused::Range);
    }

    proptest! {
        #[test]
        fn no_permit_leads_below_the_floor(
            balance in -1_000i64..1_000, held in 0i64..500, overdraft in 0i64..500, minor in 1i64..2_000
        ) {
            let locked = row(balance, held, overdraft, AccountStatus::Open);
            let account = futures_util::FutureExt::now_or_never(read(&locked)).unwrap();
            for permit in [Permit::debit(&account, eur(minor)), Permit::hold(&account, eur(minor))].into_iter().flatten() {
                let after = balance + permit.balance_change() - held - permit.held_change();
                prop_assert!(after >= -overdraft);
            }
        }
    }
}
