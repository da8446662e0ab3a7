//! The nightly settlement: pays a day's interest on each wallet, by plain SQL, behind the back of every cache. It may be killed and
//! run again at any point; a second run changes nothing.

use once::{
    Once,
    jobs::{BusinessDate, Chunk, Started},
    store::Transaction as _,
};

use crate::{
    crash,
    domain::{AccountKind, Currency, PostingKind},
    error::Failed,
    store::{self, Database},
};

/// The job's name.
pub const JOB: &str = "settlement";
/// The line of the fee table that says a day's interest, in millionths of the balance.
const INTEREST: &str = "interest";
/// Wallets in one transaction.
const CHUNK: u32 = 100;
const PARTS_PER_MILLION: i128 = 1_000_000;

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It ran to its end.
    Ran {
        /// Postings that were made now.
        posted: u64,
    },
    /// Another instance runs it: this one walks away.
    Elsewhere {
        /// Which.
        owner: String,
    },
    /// It had been run.
    Finished,
}

/// Runs the settlement of `date`, or goes on with it.
///
/// Safe to repeat, from any number of instances: one holds the job's lease, chunk and checkpoint are one transaction under its fence, and
/// a posting's id is made of job, date and account.
///
/// # Errors
/// [`Failed`]; a run that another has taken over fails with `LeaseLost` and has changed nothing since.
pub async fn settle(once: &Once<Database>, date: BusinessDate, owner: &str) -> Result<Settled, Failed> {
    let run = match once.jobs().start(JOB, date, owner).await? {
        Started::Running(run) => run,
        Started::Elsewhere { owner } => return Ok(Settled::Elsewhere { owner }),
        Started::Finished { .. } => return Ok(Settled::Finished),
    };
    let mut posted = 0;
    loop {
        let chunk = run.chunk().await?;
        let after = chunk.checkpoint().unwrap_or_default().to_owned();
        let wallets = wallets_after(&chunk, &after).await?;
        let Some(last) = wallets.last().map(|wallet| wallet.id.clone()) else {
            chunk.finish().await?;
            break;
        };
        for wallet in &wallets {
            posted += u64::from(pay(&chunk, wallet, &run.id(&wallet.id).to_string(), date).await?);
        }
        crash::reach("settlement-chunk");
        chunk.save(&last).await?;
        crash::reach("settlement-saved");
    }
    run.release().await?;
    Ok(Settled::Ran { posted })
}

struct Wallet {
    id: String,
    tenant: String,
    currency: Currency,
    balance: i64,
    rate_ppm: i64,
}

async fn wallets_after(chunk: &Chunk<'_, Database>, after: &str) -> Result<Vec<Wallet>, Failed> {
    let sql = "SELECT a.id, a.tenant, a.currency, a.balance, \
               COALESCE((SELECT f.rate_ppm FROM fee f WHERE f.tenant = a.tenant AND f.kind = $3 AND f.currency = a.currency), 0) \
               FROM account a WHERE a.kind = 'wallet' AND a.id > $1 ORDER BY a.id LIMIT $2 {for_update}";
    let rows = chunk.tx().query(sql, &[after.into(), CHUNK.into(), INTEREST.into()]).await?;
    rows.iter()
        .map(|row| {
            let currency =
                row.text(2)?.parse().map_err(|_| Failed::Broken("a wallet is in no currency".to_owned()))?;
            let (id, tenant) = (row.text(0)?.to_owned(), row.text(1)?.to_owned());
            Ok(Wallet { id, tenant, currency, balance: row.int(3)?, rate_ppm: row.int(4)? })
        })
        .collect()
}

/// Pays a wallet's interest, unless this run's posting for it is there; whether it was paid now.
async fn pay(
    chunk: &Chunk<'_, Database>,
    wallet: &Wallet,
    posting: &str,
    date: BusinessDate,
) -> Result<bool, Failed> {
    let minor = i128::from(wallet.balance.max(0)) * i128::from(wallet.rate_ppm) / PARTS_PER_MILLION;
    let Some(minor) = i64::try_from(minor).ok().filter(|minor| *minor > 0) else { return Ok(false) };
    let tx = chunk.tx();
    let sql = "INSERT INTO posting (id, tenant, kind, reference, posted_ms) VALUES ($1, $2, $3, $4, {now}) ON CONFLICT (id) DO NOTHING";
    let reference = format!("{JOB}/{date}");
    let kind = PostingKind::Settlement.as_str();
    let params = [posting.into(), (&wallet.tenant).into(), kind.into(), (&reference).into()];
    if tx.execute(sql, &params).await? == 0 {
        return Ok(false);
    }
    let fees = store::own_account(tx, &wallet.tenant, AccountKind::Fees, wallet.currency).await?.text();
    let sql = "UPDATE account SET balance = balance + $2, version = version + 1 WHERE id = $1";
    tx.execute(sql, &[(&wallet.id).into(), minor.into()]).await?;
    let sql =
        "INSERT INTO entry (posting, account, currency, minor, balance_after) VALUES ($1, $2, $3, $4, $5)";
    let currency = wallet.currency.code();
    let after = wallet.balance + minor;
    tx.execute(sql, &[posting.into(), (&wallet.id).into(), currency.into(), minor.into(), after.into()])
        .await?;
    tx.execute(sql, &[posting.into(), (&fees).into(), currency.into(), (-minor).into(), None::<i64>.into()])
        .await?;
    Ok(true)
}
