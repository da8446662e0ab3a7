//! `/metrics`: the names that boards and alerts are built on.

use crate::support::{Mood, Server};

#[tokio::test]
async fn every_name_is_there_and_no_key_is() {
    let server = Server::start().await;
    let mut redis = server.redis().await;
    for command in
        ["GET user:42", "GET user:42", "GET user:9876540123", "GET user:9876540123", "GET authorisation:1"]
    {
        redis.ask(command).await;
    }
    server.database.mood(Mood::Shedding);
    redis.ask("GET user:1").await;
    let answer = server.get("/metrics").await;
    assert!(answer.header("content-type").starts_with("application/openmetrics-text"));
    let text = answer.body;
    for line in [
        r#"trueup_reads_total{class="user",served_by="l1"} 2"#,
        r#"trueup_reads_total{class="user",served_by="source"} 2"#,
        r#"trueup_reads_total{class="authorisation",served_by="source"} 1"#,
        r#"trueup_misses_total{class="user",reason="cold"} 3"#,
        r#"trueup_load_duration_seconds_count{class="user",outcome="value"} 1"#,
        r#"trueup_load_duration_seconds_bucket{le="+Inf",class="user",outcome="absent"} 1"#,
        r#"trueup_loads_coalesced_total{class="user"} 0"#,
        r#"trueup_loads_in_flight{class="user"} 0"#,
        r#"trueup_entries{class="user"} 2"#,
        r#"trueup_capacity_bytes{class="user",tier="l1"} 67108864"#,
        r#"trueup_evictions_total{class="user",tier="l1",reason="capacity"} 0"#,
        r#"trueup_changes_total{source="test"}"#,
        r#"trueup_invalidation_delay_seconds_count{stage="applied"}"#,
        r#"trueup_invalidation_delay_seconds_count{stage="feed"}"#,
        r#"trueup_invalidation_delay_seconds_count{stage="node"}"#,
        "trueup_watermark_lag_seconds",
        "trueup_watermark_position",
        "trueup_source_position",
        "trueup_unproven_seconds_total",
        "trueup_feed_gaps_total",
        "trueup_epoch",
        r#"trueup_fills_rejected_total{class="user",reason="missed_change"} 0"#,
        r#"trueup_checks_total{class="user",verdict="stale"} 0"#,
        r#"trueup_shed_total{class="user"} 1"#,
        r#"trueup_negative_total{class="user"} 1"#,
        r#"trueup_stored_bytes{class="user"}"#,
        r#"trueup_read_duration_seconds_count{class="user"}"#,
        r#"trueup_connections{protocol="resp"} 1"#,
        r#"trueup_fill_locks_total{class="user",outcome="claimed"} 0"#,
        r#"trueup_refreshes_total{class="user",reason="early"} 0"#,
        r#"trueup_refresh_outcomes_total{class="user",outcome="put_off"} 0"#,
        r#"trueup_hot_keys{class="user"} 0"#,
        r#"trueup_warmed_total{class="user",from="source"} 0"#,
        r#"trueup_warm_start{outcome="nothing"} 1"#,
        "trueup_warm_start_keys{} 0",
        "trueup_warm_start_seconds",
        r#"trueup_preheats_total{outcome="warm"} 0"#,
        "trueup_ramp_share{} 1",
        r#"trueup_expiry_next_minute_entries{class="user"} 0"#,
        r#"trueup_expiry_busiest_second_entries{class="user"} 0"#,
    ] {
        assert!(text.lines().any(|known| known.starts_with(line)), "{line} is not in\n{text}");
    }
    assert!(text.ends_with("# EOF\n") && !text.contains("9876540123"));
}

/// Whoever reads the text splits it at blanks; this does the same.
#[tokio::test]
async fn every_line_is_a_name_and_a_number() {
    let server = Server::start().await;
    let text = server.get("/metrics").await.body;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("trueup_"), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
    let mut families: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE ")).collect();
    let count = families.len();
    families.sort_unstable();
    families.dedup();
    assert_eq!(families.len(), count, "a family that is told twice is refused as a whole");
}

/// Boards show the bounds as they stand, and a query names them.
#[tokio::test]
async fn bounds_of_buckets_are_short_decimals() {
    /// All bounds are 1, 2 or 5 times a power of ten, the finest of them tens of nanoseconds.
    const DECIMALS_MAX: usize = 9;
    let server = Server::start().await;
    server.redis().await.ask("GET user:42").await;
    let text = server.get("/metrics").await.body;
    let bounds: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once("le=\"")?.1.split_once('"'))
        .map(|(bound, _)| bound)
        .collect();
    assert!(bounds.contains(&"0.000005"), "{bounds:?}");
    for bound in bounds.into_iter().filter(|bound| *bound != "+Inf") {
        let decimals = bound.split_once('.').map_or("", |(_, decimals)| decimals);
        assert!(decimals.len() <= DECIMALS_MAX, "{bound}");
    }
}
