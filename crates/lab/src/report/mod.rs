//! What a run has shown.

mod chart;
mod page;
pub(crate) mod scale;
mod show;
mod tally;
mod timeline;

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use trueup_core::env::Nanos;

use self::timeline::Timeline;
pub(crate) use self::{
    page::page,
    show::{aligned, table},
    tally::Tally,
};
use crate::{
    fault::Window,
    history::{Promise, Read, ServedBy, Verdict, Violation},
    load::Aged,
    world::{Attempt, Counted},
};

/// Text as it may stand in a page.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A write that takes longer than this, while nothing was done to the database, was held up by the cache.
const WRITE_BLOCKED: Duration = Duration::from_secs(2);
/// Most violations that a report tells with their evidence.
const EVIDENCE_MAX: usize = 100;
/// Most writes that were held up that it tells.
const BLOCKED_MAX: usize = 10;
/// How long after a fault damage is still put down to it.
const AFTERMATH: Duration = Duration::from_secs(2);

/// A run, in figures.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) source: &'static str,
    pub(crate) l2: &'static str,
    pub(crate) nodes: usize,
    pub(crate) seconds: f64,
    pub(crate) reads: Reads,
    /// Answers that the judge has compared with what was written.
    pub(crate) checked: u64,
    pub(crate) unproven: Vec<Unproven>,
    pub(crate) own_tokens: OwnTokens,
    pub(crate) writes: Writes,
    /// How often each promise was broken; empty when none was.
    pub(crate) violations: BTreeMap<Promise, u64>,
    /// The first violations, each with both operations.
    pub(crate) evidence: Vec<Evidence>,
    /// How often something was broken.
    pub(crate) faults_injected: u64,
    pub(crate) faults: Vec<FaultReport>,
    /// Problems of the lab itself: the run has not shown what it should have.
    pub(crate) trouble: Vec<String>,
    /// The wrong way beside it, where that was asked for.
    pub(crate) naive: Option<Naive>,
}

/// Reads of the run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Reads {
    pub(crate) answered: u64,
    pub(crate) failed: u64,
    pub(crate) served_by: BTreeMap<ServedBy, u64>,
    pub(crate) with_token: u64,
    pub(crate) of_sessions: u64,
    /// Answers that held several rows of one state.
    pub(crate) together: u64,
    pub(crate) absent: u64,
    /// Why memory had no answer, as the nodes count it.
    pub(crate) misses: BTreeMap<String, u64>,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// How long a node could not be relied on for proven answers.
#[derive(Debug, Serialize)]
pub(crate) struct Unproven {
    /// Seconds in which it was asked and no tier of it answered: it was away, or could prove nothing.
    pub(crate) seconds: f64,
    /// Of the run.
    pub(crate) share: f64,
    /// As the node itself counts, since it was started last; none where it does not answer.
    pub(crate) counted_s: Option<f64>,
}

/// Reads with the token of a write that had been acknowledged for more than 20 ms.
#[derive(Debug, Default, Serialize)]
pub(crate) struct OwnTokens {
    pub(crate) reads: u64,
    /// Sent to the database because of the token alone.
    pub(crate) bypassed: u64,
    /// The same while nothing was broken, nor had just been.
    pub(crate) reads_calm: u64,
    pub(crate) bypassed_calm: u64,
}

/// Writes of the run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Writes {
    pub(crate) committed: u64,
    pub(crate) failed: u64,
    pub(crate) rewinds: u64,
    /// Acknowledged, and taken back by a crash, a restore or a promotion.
    pub(crate) taken_back: u64,
    pub(crate) slowest_ms: f64,
}

/// One violation.
#[derive(Debug, Serialize)]
pub(crate) struct Evidence {
    pub(crate) promise: Promise,
    /// What was broken at the time.
    pub(crate) during: Vec<&'static str>,
    pub(crate) what: String,
}

/// What a fault did to readers.
#[derive(Debug, Serialize)]
pub(crate) struct FaultReport {
    pub(crate) faults: Vec<&'static str>,
    pub(crate) at_s: f64,
    pub(crate) held_s: f64,
    /// Until every node could prove answers, from the repair on.
    pub(crate) ready_ms: f64,
    /// Share of reads that were answered while it lasted.
    pub(crate) answered: f64,
    pub(crate) p99_ms: f64,
    /// Share of answers that came from a tier: before, and while it lasted.
    pub(crate) hit_rate_before: f64,
    pub(crate) hit_rate: f64,
    /// From the repair until the hit rate was within a point of before; none where it was not before the next fault.
    pub(crate) recovered_ms: Option<f64>,
    pub(crate) failed_writes: u64,
}

/// The wrong way.
#[derive(Debug, Serialize)]
pub(crate) struct Naive {
    pub(crate) reads: u64,
    pub(crate) violations: BTreeMap<Promise, u64>,
}

/// Everything that a report is made of.
pub(crate) struct Material<'a> {
    pub(crate) origin: Nanos,
    pub(crate) end: Nanos,
    pub(crate) nodes: usize,
    pub(crate) tally: Tally,
    pub(crate) verdict: Verdict,
    pub(crate) windows: &'a [Window],
    pub(crate) attempts: &'a [Attempt],
    pub(crate) rewinds: usize,
    pub(crate) taken_back: u64,
    pub(crate) counted: Counted,
    pub(crate) trouble: Vec<String>,
    pub(crate) naive: Option<Verdict>,
}

impl Report {
    /// The report of a run that is described by the first arguments.
    pub(crate) fn new(seed: u64, source: &'static str, l2: &'static str, material: Material<'_>) -> Self {
        let Material { origin, end, nodes, tally, verdict, windows, attempts, counted, .. } = material;
        let Tally { mut reads, mut timeline, aged } = tally;
        timeline.close(end);
        (reads.p50_ms, reads.p99_ms) = (timeline.latency_ms(0.5), timeline.latency_ms(0.99));
        reads.misses = counted.misses;
        let mut violations = verdict.counts.clone();
        let blocked: Vec<&Attempt> = attempts.iter().filter(|attempt| is_blocked(attempt, windows)).collect();
        if !blocked.is_empty() {
            violations.insert(Promise::P7, blocked.len() as u64);
        }
        let under_fault = verdict.violations.iter().filter(|found| !during(&found.read, windows).is_empty());
        let under_fault = under_fault.count() as u64;
        if under_fault > 0 {
            violations.insert(Promise::P6, under_fault);
        }
        let mut evidence: Vec<Evidence> = verdict
            .violations
            .iter()
            .take(EVIDENCE_MAX)
            .map(|found| of_violation(found, windows, origin))
            .collect();
        evidence.extend(blocked.iter().take(BLOCKED_MAX).map(|attempt| of_blocked(attempt, origin)));
        let mut trouble = material.trouble;
        if l2 != "none" && nodes > 0 && !reads.served_by.contains_key(&ServedBy::L2) {
            trouble.push(
                "the remote tier has not answered a single read, so nothing was shown of it".to_owned(),
            );
        }
        Self {
            seed,
            source,
            l2,
            nodes,
            seconds: end.since(origin).as_secs_f64(),
            reads,
            checked: verdict.reads,
            unproven: (0..nodes)
                .map(|node| Unproven {
                    seconds: timeline.unproven(node).as_secs_f64(),
                    share: timeline.unproven(node).div_duration_f64(timeline.span()),
                    counted_s: counted.unproven_s.get(node).copied().flatten(),
                })
                .collect(),
            own_tokens: own_tokens(&aged, windows),
            faults_injected: windows.iter().map(|window| window.faults.len() as u64).sum(),
            writes: writes(attempts, material.rewinds, material.taken_back),
            violations,
            evidence,
            faults: windows
                .iter()
                .enumerate()
                .map(|(index, window)| {
                    let next = windows.get(index + 1).map_or(end, |next| next.start);
                    fault(window, next, &timeline, attempts, origin)
                })
                .collect(),
            trouble,
            naive: material.naive.map(|verdict| Naive { reads: verdict.reads, violations: verdict.counts }),
        }
    }

    /// Whether no promise was broken, and the run was what it should have been.
    pub(crate) fn is_clean(&self) -> bool {
        self.violations.is_empty() && self.trouble.is_empty() && self.naive_was_found()
    }

    /// A judge who finds nothing wrong with the wrong way is asleep.
    fn naive_was_found(&self) -> bool {
        self.naive.as_ref().is_none_or(|naive| !naive.violations.is_empty())
    }
}

/// What was broken while the read was under way, or shortly before.
fn during(read: &Read, windows: &[Window]) -> Vec<&'static str> {
    let near = |window: &&Window| window.is_near(read.start, read.end);
    windows.iter().filter(near).flat_map(|window| window.faults.iter().copied()).collect()
}

fn own_tokens(aged: &[Aged], windows: &[Window]) -> OwnTokens {
    let mut own = OwnTokens::default();
    for read in aged {
        let is_calm = !windows.iter().any(|window| window.is_near(read.end, read.end));
        own.reads += 1;
        own.bypassed += u64::from(read.bypassed);
        own.reads_calm += u64::from(is_calm);
        own.bypassed_calm += u64::from(is_calm && read.bypassed);
    }
    own
}

impl Window {
    /// Whether something that lasted from `start` to `end` happened while it was broken, or shortly after.
    fn is_near(&self, start: Nanos, end: Nanos) -> bool {
        end >= self.start && start <= self.ready.after(AFTERMATH)
    }
}

fn of_violation(violation: &Violation, windows: &[Window], origin: Nanos) -> Evidence {
    Evidence {
        promise: violation.promise,
        during: during(&violation.read, windows),
        what: violation.evidence(origin),
    }
}

/// Whether a write failed, or took too long, although nothing was done to the database.
fn is_blocked(attempt: &Attempt, windows: &[Window]) -> bool {
    let slow = attempt.end.since(attempt.start) > WRITE_BLOCKED;
    let excused = windows.iter().any(|window| {
        window.of_database && attempt.end >= window.start && attempt.start <= window.ready.after(AFTERMATH)
    });
    (slow || !attempt.succeeded) && !excused
}

fn of_blocked(attempt: &Attempt, origin: Nanos) -> Evidence {
    let (at, took) = (attempt.start.since(origin), attempt.end.since(attempt.start));
    let how = if attempt.succeeded { "was held up" } else { "failed" };
    let what = format!(
        "a write {how} although nothing was done to the database: at {:.3} s, after {} ms",
        at.as_secs_f64(),
        took.as_millis()
    );
    Evidence { promise: Promise::P7, during: Vec::new(), what }
}

fn writes(attempts: &[Attempt], rewinds: usize, taken_back: u64) -> Writes {
    let committed = attempts.iter().filter(|attempt| attempt.succeeded);
    let slowest = committed.clone().map(|attempt| attempt.end.since(attempt.start)).max().unwrap_or_default();
    let committed = committed.count() as u64;
    Writes {
        committed,
        failed: attempts.len() as u64 - committed,
        rewinds: rewinds as u64,
        taken_back,
        slowest_ms: ms(slowest),
    }
}

fn fault(
    window: &Window,
    next: Nanos,
    timeline: &Timeline,
    attempts: &[Attempt],
    origin: Nanos,
) -> FaultReport {
    let meanwhile = timeline.between(window.start, window.healed);
    let before = timeline.before(window.start);
    let failed = |attempt: &&Attempt| {
        !attempt.succeeded && attempt.end >= window.start && attempt.start <= window.healed
    };
    FaultReport {
        faults: window.faults.clone(),
        at_s: window.start.since(origin).as_secs_f64(),
        held_s: window.healed.since(window.start).as_secs_f64(),
        ready_ms: ms(window.ready.since(window.healed)),
        answered: meanwhile.answered_share(),
        p99_ms: timeline.latency_between_ms(window.start, window.healed, 0.99),
        hit_rate_before: before.hit_rate(),
        hit_rate: meanwhile.hit_rate(),
        recovered_ms: timeline.recovery(window.healed, next, before.hit_rate()).map(ms),
        failed_writes: attempts.iter().filter(failed).count() as u64,
    }
}

fn ms(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e6).round() / 1e3
}
