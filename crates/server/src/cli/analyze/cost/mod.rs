//! `trueup analyze cost FILE`: what each size of memory costs, and the cheapest.

mod model;
mod report;

use serde::Deserialize;
use trueup_core::{class::units::parse_share, tier::Policy};

use self::{
    model::{Demand, Prices, Remote, cheapest, cost, gb_per_month},
    report::{EntrySize, OfClass, Report, Transfer},
};
use super::{
    log::{self, FileArg, WhichArgs},
    mrc,
    workload::{Requests, Size, SizeArgs, Workload, size},
};
use crate::cli::{
    Failure,
    client::{Server, TokenArgs},
    exposition::Metrics,
    output::{self, Format},
    setup::{self, SourceArgs},
};

/// Transferred bytes, by direction.
const TRANSFER: &str = "trueup_l2_transfer_bytes_total";

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    file: FileArg,
    #[command(flatten)]
    which: WhichArgs,
    /// The policy of memory
    #[arg(long, value_name = "NAME", default_value_t)]
    policy: Policy,
    #[command(flatten)]
    sizes: SizeArgs,
    /// Requests a second, all classes together [default: by the times in the log]
    #[arg(long, value_name = "N", value_parser = positive)]
    rate: Option<f64>,
    /// Price of a GiB of memory for a month
    #[arg(long, value_name = "PRICE", value_parser = price)]
    gib_month_price: Option<f64>,
    /// Price of a million loads of the source
    #[arg(long, value_name = "PRICE", value_parser = price)]
    million_loads_price: Option<f64>,
    /// Price of a GB (1e9 bytes) between zones
    #[arg(long, value_name = "PRICE", value_parser = price)]
    zone_gb_price: Option<f64>,
    /// The currency of the prices, for the headings
    #[arg(long, value_name = "NAME", default_value = "")]
    currency: String,
    /// Zones over which nodes and remote tier are spread evenly: of three, two thirds of what moves crosses zones
    #[arg(long, value_name = "N", conflicts_with = "cross_zone")]
    zones: Option<std::num::NonZeroU32>,
    /// Share of what moves to and from the remote tier that crosses zones, such as 40%
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    cross_zone: Option<f64>,
    /// The remote tier's size, in entries or bytes, or all; without it, --zones and --cross-zone every miss of memory is a load
    #[arg(long, value_name = "SIZE", value_parser = remote_size)]
    remote_size: Option<RemoteSize>,
    /// A running server: HOST:PORT of its HTTP side. What its entries take, and what it has moved to and from the remote tier
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,
    #[command(flatten)]
    token: TokenArgs,
    /// Keys as they are written: no database is asked for their normal form
    #[arg(long)]
    as_written: bool,
    #[command(flatten)]
    source: SourceArgs,
    /// How to show it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Debug)]
enum RemoteSize {
    All,
    Of(Size),
}

fn remote_size(text: &str) -> Result<RemoteSize, String> {
    if text == "all" { Ok(RemoteSize::All) } else { Ok(RemoteSize::Of(size(text)?)) }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if number > 0.0 && f64::is_finite(number) => Ok(number),
        _ => Err("write a number above 0".to_owned()),
    }
}

fn price(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if number >= 0.0 && f64::is_finite(number) => Ok(number),
        _ => Err("write a price as a number, such as 3.50".to_owned()),
    }
}

/// The part of `/v1/status` that is needed here.
#[derive(Debug, Deserialize)]
struct Status {
    uptime_s: f64,
    classes: Vec<Held>,
}

/// What a server holds of a class.
#[derive(Debug, Deserialize)]
struct Held {
    name: String,
    entries: u64,
    bytes: u64,
}

/// A running server's own figures.
struct Running {
    status: Status,
    transfer: Option<Transfer>,
}

impl Running {
    fn ask(server: &Server<'_>) -> Result<Self, Failure> {
        let status: Status = server.get_json("/v1/status")?;
        let metrics = Metrics::ask(server)?;
        let bytes = |direction| metrics.value(TRANSFER, &[("direction", direction)]);
        let transfer = bytes("in").zip(bytes("out")).map(|(bytes_in, bytes_out)| Transfer {
            bytes_in,
            bytes_out,
            gb_per_month: gb_per_month(bytes_in + bytes_out, status.uptime_s),
        });
        Ok(Self { status, transfer })
    }

    fn entry_bytes(&self, class: &str) -> Option<usize> {
        let held = self.status.classes.iter().find(|held| held.name == class)?;
        usize::try_from(held.bytes.checked_div(held.entries)?).ok()
    }
}

pub(in crate::cli) fn run(args: &Args) -> Result<(), Failure> {
    setup::start_logs("warn");
    let (plan, forms) = log::forms(&args.source, args.as_written)?;
    let server = args.http.as_deref().map(|address| Server { address, token: &args.token });
    let running = server.as_ref().map(Running::ask).transpose()?;
    let workload = Workload::read(&args.file, &args.which, &plan.warm.routes, forms, args.sizes.sample)?;
    let Some(rate) = args.rate.or_else(|| workload.rate()) else {
        let why = "the log tells no times, so nobody knows how many requests a second there are: write it, such as --rate 120";
        return Err(Failure::Usage(why.to_owned()));
    };
    let classes = workload
        .classes
        .iter()
        .map(|(name, class)| {
            let rate = rate * class.count() as f64 / workload.requests().max(1) as f64;
            args.of_class(name, class, rate, running.as_ref())
        })
        .collect::<Result<_, _>>()?;
    let report = Report {
        requests: workload.requests(),
        other: workload.other,
        unknown: workload.unknown,
        rate,
        rate_stated: args.rate.is_some(),
        policy: args.policy.as_str(),
        prices: args.prices(),
        currency: args.currency.clone(),
        cross_zone: args.cross_zone_share(),
        classes,
        measured_transfer: running.and_then(|running| running.transfer),
    };
    match args.format {
        Format::Json => output::print_json(&report),
        Format::Table => {
            output::print(&report.table());
            Ok(())
        }
    }
}

impl Args {
    const fn prices(&self) -> Prices {
        Prices {
            gib_month: self.gib_month_price,
            million_loads: self.million_loads_price,
            zone_gb: self.zone_gb_price,
        }
    }

    /// Share of what moves that crosses zones; none where there is no remote tier.
    fn cross_zone_share(&self) -> Option<f64> {
        let of_zones = self.zones.map(|zones| 1.0 - 1.0 / f64::from(zones.get()));
        self.cross_zone.or(of_zones).or_else(|| self.remote_size.map(|_| 0.0))
    }

    fn entry_size(
        &self,
        name: &str,
        class: &Requests,
        running: Option<&Running>,
    ) -> Result<EntrySize, Failure> {
        let of = |bytes, from| EntrySize { bytes, from };
        let measured = || Some(of(running?.entry_bytes(name)?, "the running server"));
        let logged = || Some(of(class.logged_bytes()?, "the log's mean answer, without bookkeeping"));
        self.sizes.entry_size.map(|bytes| of(bytes, "--entry-size")).or_else(measured).or_else(logged).ok_or_else(|| {
            Failure::Usage(format!(
                "nobody tells what an entry of class {name:?} takes: write it, such as --entry-size 2KiB, or name a running \
                 server that holds some with --http"
            ))
        })
    }

    fn of_class(
        &self,
        name: &str,
        class: &Requests,
        rate: f64,
        running: Option<&Running>,
    ) -> Result<OfClass, Failure> {
        let entry = self.entry_size(name, class, running)?;
        let ladder = class.ladder(&self.sizes.sizes, Some(entry.bytes))?;
        let curve = mrc::curve(class, &ladder.sizes, &[self.policy]);
        let remote = match (self.cross_zone_share(), self.remote_size) {
            (None, _) => None,
            (Some(cross_zone), None | Some(RemoteSize::All)) => {
                Some(Remote { miss_ratio: curve.least, cross_zone })
            }
            (Some(cross_zone), Some(RemoteSize::Of(size))) => {
                let entries = size.entries(Some(entry.bytes))?;
                Some(Remote { miss_ratio: class.replay.miss_ratio(self.policy, entries), cross_zone })
            }
        };
        let demand = Demand { rate, entry_bytes: entry.bytes, remote };
        let prices = self.prices();
        let first = |ratios: &[f64]| ratios.first().copied().unwrap_or(1.0);
        let sizes: Vec<_> = curve
            .rows
            .iter()
            .map(|(entries, ratios)| cost(*entries, first(ratios), &demand, &prices))
            .collect();
        Ok(OfClass {
            class: name.to_owned(),
            requests: class.count(),
            left_out: class.replay.left_out(),
            sample: class.replay.share(),
            rate,
            entry,
            cheapest: cheapest(&sizes),
            enough: curve.enough(),
            too_small: ladder.too_small,
            sizes,
        })
    }
}
