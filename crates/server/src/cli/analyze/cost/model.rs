//! What a size of memory costs a month: the memory itself, the loads that it does not save, and what its misses move between zones.

use serde::Serialize;

/// Seconds in a month: 730 hours.
const MONTH_S: f64 = 730.0 * 3_600.0;
const GIB: f64 = (1_u64 << 30) as f64;
const GB: f64 = 1e9;
const MILLION: f64 = 1e6;

/// What things cost, in whatever currency; none where nobody said.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Prices {
    /// Of a GiB of memory for a month.
    pub(super) gib_month: Option<f64>,
    /// Of a million loads of the source.
    pub(super) million_loads: Option<f64>,
    /// Of a GB (1e9 bytes) between zones.
    pub(super) zone_gb: Option<f64>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand {
    /// Requests a second.
    pub(super) rate: f64,
    /// Bytes of an entry.
    pub(super) entry_bytes: usize,
    /// The remote tier; none where every miss of memory is a load.
    pub(super) remote: Option<Remote>,
}

/// A remote tier behind memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remote {
    /// Share of requests, 0 to 1, that it and a memory no larger than it miss together.
    pub(super) miss_ratio: f64,
    /// Share, 0 to 1, of what goes to it or comes from it that crosses zones.
    pub(super) cross_zone: f64,
}

/// One size of memory.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Cost {
    pub(super) entries: usize,
    pub(super) memory_gib: f64,
    /// Share of requests, 0 to 1.
    pub(super) miss_ratio: f64,
    /// Loads of the source.
    pub(super) loads_per_s: f64,
    /// Between zones; none without a remote tier.
    pub(super) zone_gb_per_month: Option<f64>,
    /// A month, each where its price was given.
    pub(super) memory_cost: Option<f64>,
    pub(super) loads_cost: Option<f64>,
    pub(super) zone_cost: Option<f64>,
    /// All of them, if the prices of all were given.
    pub(super) total: Option<f64>,
}

/// The cost of a memory of `entries` that misses `miss_ratio` of the requests.
pub(super) fn cost(entries: usize, miss_ratio: f64, demand: &Demand, prices: &Prices) -> Cost {
    let memory_gib = entries as f64 * demand.entry_bytes as f64 / GIB;
    // What memory holds, the remote tier behind it need not.
    let loaded = demand.remote.map_or(miss_ratio, |remote| remote.miss_ratio.min(miss_ratio));
    let loads_per_s = demand.rate * loaded;
    // An entry that memory misses is either fetched from the remote tier, or loaded and written there: once, either way.
    let zone_gb_per_month = demand.remote.map(|remote| {
        demand.rate * miss_ratio * demand.entry_bytes as f64 * remote.cross_zone * MONTH_S / GB
    });
    let memory_cost = prices.gib_month.map(|price| price * memory_gib);
    let loads_cost = prices.million_loads.map(|price| price * loads_per_s * MONTH_S / MILLION);
    let zone_cost = prices.zone_gb.zip(zone_gb_per_month).map(|(price, moved)| price * moved);
    let zones = if zone_gb_per_month.is_some() { zone_cost } else { Some(0.0) };
    let total = memory_cost.zip(loads_cost).zip(zones).map(|((memory, loads), zones)| memory + loads + zones);
    Cost {
        entries,
        memory_gib,
        miss_ratio,
        loads_per_s,
        zone_gb_per_month,
        memory_cost,
        loads_cost,
        zone_cost,
        total,
    }
}

/// The place of the cheapest; none where no total is known. Of equal ones the smallest memory.
pub(super) fn cheapest(costs: &[Cost]) -> Option<usize> {
    let totals = costs.iter().enumerate().filter_map(|(at, cost)| Some((at, cost.total?)));
    totals.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(at, _)| at)
}

/// Bytes a month of what was counted in `uptime_s` seconds, in GB.
pub(super) fn gb_per_month(bytes: f64, uptime_s: f64) -> f64 {
    bytes / uptime_s.max(1.0) * MONTH_S / GB
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PRICES: Prices = Prices { gib_month: Some(4.0), million_loads: Some(0.5), zone_gb: Some(0.01) };

    fn demand(remote: Option<Remote>) -> Demand {
        Demand { rate: 1_000.0, entry_bytes: 1 << 10, remote }
    }

    fn is_near(value: Option<f64>, expected: f64) -> bool {
        value.is_some_and(|value| (value / expected - 1.0).abs() < 1e-9)
    }

    #[test]
    fn a_memory_costs_itself_and_the_loads_that_it_does_not_save() {
        let cost = cost(1 << 20, 0.02, &demand(None), &PRICES);
        assert_eq!((cost.memory_gib, cost.loads_per_s, cost.zone_gb_per_month), (1.0, 20.0, None));
        // 20 loads a second are 52.56 million a month.
        assert!(is_near(cost.memory_cost, 4.0) && is_near(cost.loads_cost, 26.28), "{cost:?}");
        assert!(is_near(cost.total, 30.28), "no zone is crossed without a remote tier: {cost:?}");
    }

    #[test]
    fn behind_a_remote_tier_misses_of_memory_move_entries_and_few_are_loads() {
        let remote = Remote { miss_ratio: 0.001, cross_zone: 0.5 };
        let row = cost(1 << 20, 0.02, &demand(Some(remote)), &PRICES);
        assert!(is_near(Some(row.loads_per_s), 1.0), "{row:?}");
        // 20 entries of 1024 bytes a second, half of them from another zone.
        assert!(is_near(row.zone_gb_per_month, 20.0 * 1_024.0 * 0.5 * 2_628_000.0 / 1e9), "{row:?}");
        let larger = cost(1 << 20, 0.0005, &demand(Some(remote)), &PRICES);
        assert!(
            is_near(Some(larger.loads_per_s), 0.5),
            "memory alone holds more than the remote tier: {larger:?}"
        );
    }

    #[test]
    fn without_all_prices_no_total_is_claimed() {
        let remote = Some(Remote { miss_ratio: 0.0, cross_zone: 1.0 });
        for (prices, remote) in [
            (Prices { gib_month: None, ..PRICES }, None),
            (Prices { million_loads: None, ..PRICES }, None),
            (Prices { zone_gb: None, ..PRICES }, remote),
        ] {
            let cost = cost(1_000, 0.1, &demand(remote), &prices);
            assert_eq!((cost.total, cheapest(std::slice::from_ref(&cost))), (None, None), "{cost:?}");
        }
    }

    proptest! {
        #[test]
        fn the_cheapest_is_no_dearer_than_any(ratios in prop::collection::vec(0.0..1.0_f64, 1..20)) {
            let costs: Vec<Cost> = ratios
                .iter()
                .enumerate()
                .map(|(step, ratio)| cost(1 << step, *ratio, &demand(None), &PRICES))
                .collect();
            let best = cheapest(&costs).unwrap();
            prop_assert!(costs.iter().all(|cost| costs[best].total <= cost.total));
        }
    }

    #[test]
    fn what_was_counted_is_scaled_to_a_month() {
        assert!(is_near(Some(gb_per_month(1e9, 2_628_000.0)), 1.0));
    }
}
