//! What money is and what may be done with it: values and rules alone, no database and no clock.

mod account;
mod currency;
mod fee;
mod id;
mod kyc;
mod money;
mod otp;
mod payment;
mod permit;
mod posting;
mod role;
mod session;
mod standing;

pub use self::{
    account::{Account, AccountKind, AccountStatus},
    currency::Currency,
    fee::Fee,
    id::{Id, IdError, attempt_key, posting_of, system_account},
    kyc::{Kyc, KycStatus},
    money::{AMOUNT_MINOR_MAX, Amount, AmountError, Money},
    otp::{CODE_DIGITS, OTP_ATTEMPTS_MAX, Otp, OtpHash, OtpKey, new_code},
    payment::{Payment, PaymentState, Refund, RefundState},
    permit::{Permit, Refused},
    posting::{Leg, Posting, PostingKind, Unbalanced},
    role::{Action, Role},
    session::{Session, session_digest},
    standing::{Month, MonthError, StandingOrder, StandingStatus},
};
