//! Who may do what.

use serde::{Deserialize, Serialize};

use super::account::stored_as;

/// What a session may do, within its tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A person with wallets: sees and moves what is their own.
    Customer,
    /// Works for the tenant: opens accounts, moves money in and out.
    Operator,
    /// Checks identities.
    Officer,
    /// Sets fees.
    Admin,
}

stored_as!(Role: Customer = "customer", Operator = "operator", Officer = "officer", Admin = "admin");

/// Something that not everybody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// To see an account, a payment, a statement.
    See,
    /// To move money out of an account, or charge a card in favour of it.
    Pay,
    /// To give a charge back.
    Refund,
    /// To open an account, freeze it, set its overdraft.
    KeepAccounts,
    /// To set a person's status.
    SetKyc,
    /// To set fees.
    SetFees,
}

impl Role {
    /// Whether the role may do it with what is `own`, or with anybody's of the tenant.
    #[must_use]
    pub const fn may(self, action: Action, own: bool) -> bool {
        match self {
            Self::Customer => own && matches!(action, Action::See | Action::Pay),
            Self::Operator => {
                matches!(action, Action::See | Action::Pay | Action::Refund | Action::KeepAccounts)
            }
            Self::Officer => matches!(action, Action::See | Action::SetKyc),
            Self::Admin => matches!(action, Action::See | Action::SetFees | Action::KeepAccounts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customer_touches_only_what_is_their_own() {
        assert!(Role::Customer.may(Action::Pay, true) && Role::Customer.may(Action::See, true));
        for action in
            [Action::See, Action::Pay, Action::Refund, Action::KeepAccounts, Action::SetKyc, Action::SetFees]
        {
            assert!(!Role::Customer.may(action, false), "{action:?}");
        }
        assert!(!Role::Customer.may(Action::Refund, true));
    }

    #[test]
    fn who_checks_identities_or_sets_fees_moves_no_money() {
        for role in [Role::Officer, Role::Admin] {
            assert!(!role.may(Action::Pay, true) && !role.may(Action::Refund, true));
        }
        assert!(!Role::Operator.may(Action::SetKyc, true) && !Role::Operator.may(Action::SetFees, true));
    }
}
