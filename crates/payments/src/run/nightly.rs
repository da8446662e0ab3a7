//! The jobs of a day, by the clock: at a time of the day, on whichever instance gets the job's lease.

use std::{str::FromStr, time::Duration};

use once::{
    Once,
    jobs::BusinessDate,
    lease::owner_name,
    store::{Owned as _, Store as _, Transaction as _},
};
use trueup::engine::env::{Task, spawn, unix_ms};

use crate::{
    error::Failed,
    service::{Executed, SETTLEMENT_JOB, STANDING_ORDERS_JOB, Settled, execute, settle},
    store::Database,
};

/// Pause between two looks at the clock and at what has been run.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Days that are made up for, at most: who was away for longer runs the rest by hand, and looks at it.
const DAYS_MISSED_MAX: usize = 31;
const MINUTE_MS: u64 = 60 * 1_000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

/// A time of the day, in UTC, from which on the jobs of the day run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nightly {
    minute: u16,
}

/// Not a time of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a time of the day in UTC, such as 02:30")]
pub struct NightlyError;

impl FromStr for Nightly {
    type Err = NightlyError;

    fn from_str(text: &str) -> Result<Self, NightlyError> {
        let digits = |text: &str| -> Option<u16> {
            (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
        };
        let (hour, minute) = text.split_once(':').ok_or(NightlyError)?;
        match (digits(hour), digits(minute)) {
            (Some(hour @ 0..=23), Some(minute @ 0..=59)) => Ok(Self { minute: hour * 60 + minute }),
            _ => Err(NightlyError),
        }
    }
}

impl Nightly {
    /// The last day whose time for jobs has come.
    fn day(self, unix_ms: u64) -> BusinessDate {
        let passed_today = unix_ms % DAY_MS >= u64::from(self.minute) * MINUTE_MS;
        let today = BusinessDate::of_unix_ms(unix_ms);
        if passed_today { today } else { today.previous().unwrap_or(today) }
    }

    /// Runs the jobs of each day from its time on. Every instance may: one gets a job's lease, the others look again later.
    pub(super) fn start(self, once: Once<Database>) -> Task {
        spawn("payments nightly", async move {
            let owner = owner_name();
            loop {
                let today = self.day(unix_ms());
                if let Err(error) = run(&once, today, &owner).await {
                    // Nothing is lost: what was done is found by its id, and the rest is done by the next look, here or elsewhere.
                    tracing::warn!(%error, "a job of the day has not come to its end; it is tried again");
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        })
    }
}

/// The jobs of `today` and of the days before it that were missed: standing orders are of the day itself, the settlement is of the one that has ended.
async fn run(once: &Once<Database>, today: BusinessDate, owner: &str) -> Result<(), Failed> {
    for date in to_run(once, STANDING_ORDERS_JOB, today).await? {
        match execute(once, date, owner).await? {
            Executed::Ran { made, declined } => {
                tracing::info!(%date, made, declined, "standing orders were carried out");
            }
            // It goes on there; the next look sees what came of it.
            Executed::Elsewhere { .. } => break,
            Executed::Finished => {}
        }
    }
    let Some(yesterday) = today.previous() else { return Ok(()) };
    for date in to_run(once, SETTLEMENT_JOB, yesterday).await? {
        match settle(once, date, owner).await? {
            Settled::Ran { posted } => tracing::info!(%date, posted, "a day was settled"),
            Settled::Elsewhere { .. } => break,
            Settled::Finished => {}
        }
    }
    Ok(())
}

/// Days up to `until` after the last one that has been run. Where none has been, `until` alone: there is nothing to make up for.
async fn to_run(once: &Once<Database>, job: &str, until: BusinessDate) -> Result<Vec<BusinessDate>, Failed> {
    let sql = "SELECT MAX(business_date) FROM once_job_runs WHERE job = $1 AND finished_ms IS NOT NULL";
    let tx = once.store().begin_read().await?;
    let row = tx.query_row(sql, &[job.into()]).await?;
    let last: Option<BusinessDate> =
        row.map(|row| row.opt_text(0).map(|text| text.map(str::parse))).transpose()?.flatten().transpose()?;
    tx.rollback().await?;
    Ok(missed(last, until))
}

fn missed(last: Option<BusinessDate>, until: BusinessDate) -> Vec<BusinessDate> {
    let first = match last {
        Some(last) => last.next(),
        None => Some(until),
    };
    let days = std::iter::successors(first, |day| day.next()).take_while(|day| *day <= until);
    days.take(DAYS_MISSED_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> BusinessDate {
        text.parse().unwrap()
    }

    #[test]
    fn a_time_of_the_day_is_one_that_a_clock_shows() {
        assert_eq!("02:30".parse(), Ok(Nightly { minute: 150 }));
        assert_eq!("00:00".parse(), Ok(Nightly { minute: 0 }));
        for text in ["", "2:30", "24:00", "23:60", "02:30:00", "+2:30", "0230"] {
            assert_eq!(text.parse::<Nightly>(), Err(NightlyError), "{text}");
        }
    }

    #[test]
    fn a_day_begins_at_its_time() {
        let nightly: Nightly = "02:30".parse().unwrap();
        let midnight = 951_782_400_000;
        assert_eq!(nightly.day(midnight), date("2000-02-28"));
        assert_eq!(nightly.day(midnight + 150 * MINUTE_MS - 1), date("2000-02-28"));
        assert_eq!(nightly.day(midnight + 150 * MINUTE_MS), date("2000-02-29"));
    }

    #[test]
    fn missed_days_are_made_up_for_in_their_order() {
        let days = |last: Option<&str>, until| {
            missed(last.map(date), date(until)).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(days(None, "2026-11-26"), ["2026-11-26"], "nothing is made up for at the first start");
        assert_eq!(days(Some("2026-11-26"), "2026-11-26"), Vec::<String>::new());
        assert_eq!(days(Some("2026-11-28"), "2026-12-01"), ["2026-11-29", "2026-11-30", "2026-12-01"]);
        assert_eq!(days(Some("2026-11-28"), "2026-11-26"), Vec::<String>::new(), "a clock that went back");
        assert_eq!(days(Some("2025-01-01"), "2026-11-26").len(), DAYS_MISSED_MAX);
    }
}
