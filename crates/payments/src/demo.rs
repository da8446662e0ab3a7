//! A small tenant to try things with: two people with a wallet each, an operator, sessions for all.

use std::{fs, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path, time::Duration};

use once::store::{Owned as _, Store as _, Transaction as _};
use trueup::engine::env::unix_ms;

use crate::{
    domain::{AccountKind, Currency, Fee, Id, KycStatus, Money, Permit, PostingKind, Role, session_digest},
    error::Failed,
    http::bearer_of,
    secret::Secret,
    service::SESSION_LIFE_MAX,
    store::{self, Database, DatabaseTx, Effect, Locked, NewAccount, NewPerson, OwnLeg, WalletOf},
};

/// The tenant.
pub const TENANT: &str = "demo";
/// What each wallet begins with, in cents.
const OPENING_MINOR: i64 = 100_000;
/// From here on a transfer needs a one-time password, in cents.
const OTP_FROM: i64 = 50_000;

/// A person of the tenant.
struct Member {
    name: &'static str,
    email: &'static str,
    person: &'static str,
    account: Option<&'static str>,
    role: Role,
}

const MEMBERS: [Member; 5] = [
    Member {
        name: "ann",
        email: "ann@example.org",
        person: "0197b1f0-0000-7000-8000-0000000000a1",
        account: Some("0197b1f0-0000-7000-8000-00000000000a"),
        role: Role::Customer,
    },
    Member {
        name: "ben",
        email: "ben@example.org",
        person: "0197b1f0-0000-7000-8000-0000000000b1",
        account: Some("0197b1f0-0000-7000-8000-00000000000b"),
        role: Role::Customer,
    },
    Member {
        name: "olga",
        email: "olga@example.org",
        person: "0197b1f0-0000-7000-8000-0000000000c1",
        account: None,
        role: Role::Operator,
    },
    Member {
        name: "otto",
        email: "otto@example.org",
        person: "0197b1f0-0000-7000-8000-0000000000d1",
        account: None,
        role: Role::Officer,
    },
    Member {
        name: "ada",
        email: "ada@example.org",
        person: "0197b1f0-0000-7000-8000-0000000000e1",
        account: None,
        role: Role::Admin,
    },
];

/// Makes the tenant where it is missing, and a session for each of its people: their tokens stand in files `NAME.token` in `folder`.
///
/// Safe to repeat: what is there stays; sessions are new each time.
///
/// # Errors
/// [`Failed`].
pub async fn seed(database: &Database, secret: &Secret, folder: &Path) -> Result<(), Failed> {
    let tx = database.begin().await?;
    let is_new = tx.query_row("SELECT 1 FROM tenant WHERE id = $1", &[TENANT.into()]).await?.is_none();
    if is_new {
        found(&tx).await?;
    }
    let mut tokens = Vec::new();
    for member in &MEMBERS {
        let session = Id::new(unix_ms());
        let bearer = bearer_of(secret, session);
        let whose = (TENANT, parsed(member.person)?, member.role);
        store::record_session(&tx, session, &session_digest(&bearer), whose, SESSION_LIFE_MAX).await?;
        tokens.push((member.name, bearer));
    }
    tx.commit().await?;
    for (name, bearer) in tokens {
        let path = folder.join(format!("{name}.token"));
        let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let written = file.and_then(|mut file| file.write_all(bearer.as_bytes()));
        written.map_err(|why| Failed::Broken(format!("{}: {why}", path.display())))?;
    }
    Ok(())
}

fn parsed(id: &str) -> Result<Id, Failed> {
    id.parse().map_err(|_| Failed::Broken("an id of the demonstration is none".to_owned()))
}

async fn found(tx: &DatabaseTx) -> Result<(), Failed> {
    let currency = Currency::EUR;
    store::record_tenant(tx, TENANT, Some(OTP_FROM)).await?;
    for (kind, fixed_minor, rate_ppm) in [("charge", 25, 14_000), ("interest", 0, 50)] {
        let (tenant, kind) = (TENANT.to_owned(), kind.to_owned());
        store::record_fee(tx, &Fee { tenant, kind, currency, fixed_minor, rate_ppm, version: 1 }).await?;
    }
    let opening = Money::new(OPENING_MINOR, currency).map_err(|why| Failed::Broken(why.to_string()))?;
    for member in &MEMBERS {
        let person = parsed(member.person)?;
        store::record_person(
            tx,
            &NewPerson { id: person, tenant: TENANT, name: member.name, email: member.email },
        )
        .await?;
        let Some(account) = member.account else { continue };
        let account = parsed(account)?;
        store::set_kyc(tx, person, 1, KycStatus::Verified).await?;
        store::open_account(
            tx,
            &NewAccount { id: account, tenant: TENANT, owner: person, currency, overdraft: 0 },
        )
        .await?;
        let locked = Locked::new(tx);
        let wallet = locked.read(&WalletOf { id: account, tenant: TENANT.into() }).await?;
        let effect = Effect {
            kind: PostingKind::Transfer,
            reference: "opening balance".to_owned(),
            currency,
            permits: vec![Permit::credit(&wallet, opening)?],
            own: vec![OwnLeg { kind: AccountKind::Outside, minor: -OPENING_MINOR }],
        };
        store::post(tx, TENANT, account, effect).await?;
    }
    Ok(())
}

/// What to try, as lines for a shell.
#[must_use]
pub fn tour(http: &str, folder: &Path) -> String {
    let folder = folder.display();
    let (ann, ben) = ("0197b1f0-0000-7000-8000-00000000000a", "0197b1f0-0000-7000-8000-00000000000b");
    let minutes = Duration::as_secs(&SESSION_LIFE_MAX) / 60;
    format!(
        "payments listens on http://{http}; everything it keeps is in {folder}\n\
         sessions of ann, ben (customers), olga (operator), otto (officer) and ada (admin) hold for {minutes} minutes: {folder}/NAME.token\n\
         try:\n\
         \x20 TOKEN=$(cat {folder}/ann.token)\n\
         \x20 curl -i http://{http}/accounts/{ann} -H \"Authorization: Bearer $TOKEN\"\n\
         \x20 curl -i http://{http}/transfers -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' \\\n\
         \x20   -H \"Idempotency-Key: $(cat /proc/sys/kernel/random/uuid)\" \\\n\
         \x20   -d '{{\"id\": \"'$(cat /proc/sys/kernel/random/uuid)'\", \"from\": \"{ann}\", \"to\": \"{ben}\", \"amount\": 1250, \"currency\": \"EUR\"}}'\n"
    )
}
