//! The sizes and their costs, for people and for programs.

use std::fmt::Write as _;

use serde::Serialize;

use super::model::{Cost, Prices};
use crate::cli::{
    analyze::mrc::{percent, sampled, too_small},
    output,
};

#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Requests for keys.
    pub(super) requests: u64,
    /// Lines that asked for something else, or were no successful read.
    pub(super) other: u64,
    /// Lines whose key is none of its class.
    pub(super) unknown: u64,
    /// Requests a second.
    pub(super) rate: f64,
    /// Whether that was said; else it is by the times in the log.
    pub(super) rate_stated: bool,
    pub(super) policy: &'static str,
    pub(super) prices: Prices,
    pub(super) currency: String,
    /// Share, 0 to 1, of what moves that crosses zones; none where there is no remote tier.
    pub(super) cross_zone: Option<f64>,
    pub(super) classes: Vec<OfClass>,
    /// What the running server has moved to and from the remote tier, whether or not it crossed zones.
    pub(super) measured_transfer: Option<Transfer>,
}

#[derive(Debug, Serialize)]
pub(super) struct OfClass {
    pub(super) class: String,
    pub(super) requests: u64,
    /// Requests at the end of the log that were left out.
    pub(super) left_out: u64,
    /// Share, 0 to 1, of the keys that was replayed.
    pub(super) sample: f64,
    /// Requests a second.
    pub(super) rate: f64,
    pub(super) entry: EntrySize,
    pub(super) sizes: Vec<Cost>,
    /// The place of the cheapest among the sizes; none where no total is known.
    pub(super) cheapest: Option<usize>,
    /// The smallest size, in entries, within one point of a memory without end.
    pub(super) enough: Option<usize>,
    /// Stated sizes, in entries, for which the sample is too small.
    pub(super) too_small: Vec<usize>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct EntrySize {
    pub(super) bytes: usize,
    /// Who says so.
    pub(super) from: &'static str,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Transfer {
    pub(super) bytes_in: f64,
    pub(super) bytes_out: f64,
    pub(super) gb_per_month: f64,
}

impl Report {
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        for class in &self.classes {
            self.show(class, &mut text);
        }
        let how = if self.rate_stated { "as stated" } else { "by the times in the log" };
        let Self { requests, other, unknown, .. } = self;
        let _ = writeln!(
            text,
            "{requests} requests for keys, {:.1} a second {how}; {other} for something else or failed; {unknown} with a key of no class",
            self.rate
        );
        if let Some(moved) = &self.measured_transfer {
            let _ = writeln!(
                text,
                "the running server has moved {} in and {} out, {:.1} GB a month at that pace, within and between zones",
                output::bytes(moved.bytes_in as u64),
                output::bytes(moved.bytes_out as u64),
                moved.gb_per_month
            );
        }
        self.missing_prices(&mut text);
        text
    }

    /// A column of a price that was not given is told in its own unit, and no total is claimed.
    fn show(&self, class: &OfClass, text: &mut String) {
        let _ = writeln!(
            text,
            "class {}: {:.1} requests a second, entries of {} ({}), {}",
            class.class,
            class.rate,
            output::bytes(class.entry.bytes as u64),
            class.entry.from,
            self.policy
        );
        text.push_str(&sampled(class.sample, class.requests, class.left_out));
        let in_currency = |what: &str| match self.currency.as_str() {
            "" => what.to_owned(),
            currency => format!("{what} {currency}"),
        };
        let mut headings =
            vec!["entries".to_owned(), "memory".to_owned(), "misses".to_owned(), "loads/s".to_owned()];
        if self.cross_zone.is_some() {
            headings.push("between zones".to_owned());
        }
        let total = class.sizes.iter().any(|cost| cost.total.is_some());
        for (is_given, what) in [
            (self.prices.gib_month.is_some(), "memory/month"),
            (self.prices.million_loads.is_some(), "loads/month"),
            (self.prices.zone_gb.is_some() && self.cross_zone.is_some(), "zones/month"),
            (total, "total/month"),
        ] {
            if is_given {
                headings.push(in_currency(what));
            }
        }
        headings.push(String::new());
        let row = |(at, cost): (usize, &Cost)| {
            let mut row = vec![
                cost.entries.to_string(),
                output::bytes((cost.memory_gib * (1_u64 << 30) as f64) as u64),
                percent(cost.miss_ratio),
                format!("{:.2}", cost.loads_per_s),
            ];
            row.extend(cost.zone_gb_per_month.map(|moved| format!("{moved:.2} GB/month")));
            let costs = [cost.memory_cost, cost.loads_cost, cost.zone_cost, cost.total];
            row.extend(costs.into_iter().flatten().map(|cost| format!("{cost:.2}")));
            let mut marks = Vec::new();
            if class.cheapest == Some(at) {
                marks.push("cheapest");
            }
            if class.enough == Some(cost.entries) {
                marks.push("enough");
            }
            row.push(marks.join(", "));
            row
        };
        let rows: Vec<Vec<String>> = class.sizes.iter().enumerate().map(row).collect();
        let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
        text.push_str(&output::wide_table(&headings, &rows));
        text.push_str(&too_small(&class.too_small));
        text.push('\n');
    }

    fn missing_prices(&self, text: &mut String) {
        let missing: Vec<&str> = [
            (self.prices.gib_month.is_none(), "--gib-month-price"),
            (self.prices.million_loads.is_none(), "--million-loads-price"),
            (self.prices.zone_gb.is_none() && self.cross_zone.is_some(), "--zone-gb-price"),
        ]
        .into_iter()
        .filter_map(|(is_missing, flag)| is_missing.then_some(flag))
        .collect();
        if !missing.is_empty() {
            let _ = writeln!(text, "no total: {} not given", missing.join(", "));
        }
    }
}
