//! A plan as a commented `trueup.toml`, in which the ten decisions are spelled out.

use std::fmt::Write as _;

use trueup_core::{
    class::{
        Case, ClassPlan, ColdStart, Decision, Fallback, Invalidation, KeyPlan, Kind, Origin, Parameter,
        Pattern, Repeated, Rows, Settings, Strategy, Tags, Unicode, Unknown,
        units::{show_bytes, show_duration, show_share},
    },
    guard::LoadLimits,
};

use super::{
    FleetSettings, L2Settings, MemorySettings, Plan, SecretFile, ServerSettings, Skipped, SourceSettings,
    SourceUrl, Tunables, WarmSettings,
};

/// Writes `plan` as a file that reads back as the same plan, with a note on each table that was left out.
#[must_use]
pub fn render(plan: &Plan, skipped: &[Skipped]) -> String {
    let mut out = Writer(String::new());
    out.line("# Trueup's plan: what is cached, and the ten decisions about each class.");
    if let Some(source) = &plan.source {
        out.source(source);
    }
    if let Some(fleet) = &plan.fleet {
        out.fleet(fleet);
    }
    if plan.server != ServerSettings::default() {
        out.server(&plan.server);
    }
    if plan.memory != MemorySettings::default() {
        out.line("\n[memory]");
        out.bare("buckets", plan.memory.buckets);
        out.bare("recent_max", plan.memory.recent_max);
        out.text("bloom_max", &show_bytes(plan.memory.bloom_max));
        out.size("capacity", plan.memory.capacity);
    }
    if let Some(l2) = &plan.l2 {
        out.l2(l2);
    }
    if plan.warm != WarmSettings::default() {
        out.warm(&plan.warm);
    }
    if let Some(behind) = &plan.write_behind {
        out.line("\n[write_behind]");
        out.text("journal", &behind.journal.to_string_lossy());
        out.text("journal_bytes_max", &show_bytes(behind.journal_bytes_max));
        out.text("flush_every", &show_duration(behind.flush_every));
    }
    if plan.defaults != Tunables::default() {
        out.line("\n# What classes take unless they say otherwise.\n[defaults]");
        Decision::ALL.into_iter().for_each(|decision| out.tunables(&plan.defaults, decision));
    }
    plan.classes.values().for_each(|class| out.class(class));
    if !skipped.is_empty() {
        out.line("\n# Left out; write a class by hand where one is wanted:");
    }
    for one in skipped {
        let _ = writeln!(out.0, "# {}: {}", quoted(&one.table), one.reason.replace(char::is_control, " "));
    }
    out.0
}

/// A basic string on one line: keys and comments allow no other.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.extend(format!("\\u{:04X}", u32::from(c)).chars()),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A TOML key: quoted unless it is a bare one.
fn key_name(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if bare { name.to_owned() } else { quoted(name) }
}

fn list<T: AsRef<str>>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(|item| quoted(item.as_ref())).collect();
    format!("[{}]", items.join(", "))
}

/// What stands in, as `fallback` is written; a declared value as JSON, which has more kinds of value than TOML.
fn fallback(fallback: &Fallback) -> String {
    match fallback {
        Fallback::None => quoted("none"),
        Fallback::LastKnownGood => quoted("last-known-good"),
        Fallback::Value(json) => format!("{{ json = {} }}", quoted(json)),
    }
}

struct Writer(String);

impl Writer {
    fn line(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push('\n');
    }

    fn bare(&mut self, key: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{key} = {value}");
    }

    fn text(&mut self, key: &str, value: &str) {
        self.bare(key, quoted(value));
    }

    fn secret(&mut self, key: &str, file: Option<&SecretFile>) {
        if let Some(SecretFile(path)) = file {
            self.text(key, &path.display().to_string());
        }
    }

    /// A value that may be off, if anything is said about it.
    fn or_off(&mut self, key: &str, value: Option<Option<String>>) {
        if let Some(value) = value {
            self.text(key, value.as_deref().unwrap_or("off"));
        }
    }

    fn source(&mut self, source: &SourceSettings) {
        self.line("\n# The database of record.\n[source]");
        self.text("url", &source.url.to_string());
        self.secret("password_file", source.password_file.as_ref());
        self.bare("install_feed", source.install_feed);
        let limits = &source.load_limits;
        if *limits != LoadLimits::default() {
            self.bare("loads_max", limits.loads_max);
            self.number("loads_per_second_max", limits.loads_per_second_max);
            self.share("critical_reserve", Some(limits.critical_reserve));
            if !limits.ramp.is_zero() {
                self.text("ramp", &show_duration(limits.ramp));
                self.share("ramp_floor", Some(limits.ramp_floor));
            }
        }
        match source.url {
            SourceUrl::Sqlite(_) => self.text("busy_timeout", &show_duration(source.busy_timeout)),
            SourceUrl::Postgres(_) => {
                self.bare("pool_max", source.pool_max);
                if !source.replicas.is_empty() {
                    self.bare("replicas", list(&source.replicas));
                }
            }
        }
    }

    fn fleet(&mut self, fleet: &FleetSettings) {
        self.line("\n# Nodes that share one replication slot.\n[fleet]");
        self.text("slot", &fleet.slot);
        self.text("advertise", &fleet.advertise);
        if let Some(state_dir) = &fleet.state_dir {
            self.text("state_dir", &state_dir.to_string_lossy());
        }
        self.text("save_every", &show_duration(fleet.save_every));
    }

    fn server(&mut self, server: &ServerSettings) {
        self.line("\n[server]");
        self.or_off("resp", Some(server.resp.map(|address| address.to_string())));
        self.or_off("http", Some(server.http.map(|address| address.to_string())));
        self.secret("password_file", server.password_file.as_ref());
        self.bare("clients_max", server.clients_max);
        self.text("frame_bytes_max", &show_bytes(server.frame_bytes_max));
        self.bare("pipeline_max", server.pipeline_max);
        self.text("idle_timeout", &show_duration(server.idle_timeout));
        self.text("write_timeout", &show_duration(server.write_timeout));
        self.text("shutdown_timeout", &show_duration(server.shutdown_timeout));
    }

    fn warm(&mut self, warm: &WarmSettings) {
        self.line("\n# What is read before anybody asks for it.\n[warm]");
        let mut path = |key: &str, path: &Option<std::path::PathBuf>| {
            if let Some(path) = path {
                self.text(key, &path.to_string_lossy());
            }
        };
        path("state_dir", &warm.state_dir);
        path("preheat_file", &warm.preheat_file);
        self.text("save_every", &show_duration(warm.save_every));
        self.text("within", &show_duration(warm.within));
        self.bare("loads_at_once", warm.loads_at_once);
        self.number("keys_per_second_max", warm.keys_per_second_max);
        let texts = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>();
        if !warm.routes.0.is_empty() {
            self.bare("routes", list(&texts(&mut warm.routes.0.iter().map(ToString::to_string))));
        }
        if !warm.preheat_at.is_empty() {
            self.bare("preheat_at", list(&texts(&mut warm.preheat_at.iter().map(ToString::to_string))));
        }
        self.text("preheat_window", &show_duration(warm.preheat_window));
    }

    fn l2(&mut self, l2: &L2Settings) {
        self.line("\n[l2]");
        self.bare("urls", list(&l2.urls));
        self.secret("password_file", l2.password_file.as_ref());
        if let Some(path) = &l2.tls_ca_file {
            self.text("tls_ca_file", &path.display().to_string());
        }
        self.secret("secret_file", l2.secret_file.as_ref());
    }

    fn class(&mut self, class: &ClassPlan) {
        let _ = writeln!(self.0, "\n[class.{}]", key_name(class.name()));
        self.text("purpose", class.purpose().as_str());
        match class {
            ClassPlan::Cacheable(plan) => {
                for (i, decision) in Decision::ALL.into_iter().enumerate() {
                    let _ = writeln!(self.0, "# {}. {decision}: {}", i + 1, decision.question());
                    self.decision(plan, decision);
                    self.tunables(&Tunables::of(plan), decision);
                }
            }
            ClassPlan::Decision(plan) => {
                let _ =
                    writeln!(self.0, "# Never cached: {}.", plan.purpose.never_reason().unwrap_or_default());
                self.origin(&plan.origin, plan.rows);
                self.text("hard_timeout", &show_duration(plan.hard_timeout));
                self.bare("scope", list(&plan.key.scope));
                self.key(&plan.key);
            }
        }
    }

    /// What only a class can say about a decision.
    fn decision(&mut self, plan: &Settings, decision: Decision) {
        match decision {
            Decision::Pattern => {
                self.origin(&plan.origin, plan.rows);
                self.text("pattern", plan.pattern.as_str());
                if let Pattern::WriteBehind { loss } = &plan.pattern {
                    self.text("loss", loss);
                }
                if let Pattern::DeleteUpdateDelete { pause } = plan.pattern {
                    self.text("second_delete_after", &show_duration(pause));
                }
                if plan.format != 0 {
                    self.bare("format", plan.format);
                }
            }
            Decision::Invalidation => self.invalidation(&plan.invalidation),
            Decision::NeverCache => {
                self.bare("never_columns", list(&plan.never_cache.columns));
                if !plan.never_cache.allowed.is_empty() {
                    self.bare("allow_secret_looking", list(&plan.never_cache.allowed));
                }
            }
            Decision::KeyScope => {
                self.bare("scope", list(&plan.key.scope));
                self.key(&plan.key);
                if let Some(part) = &plan.versioned_by {
                    self.text("versioned_by", part);
                }
            }
            Decision::Size => {
                if let Some(bloom) = &plan.bloom {
                    self.bare("bloom.entries", bloom.entries);
                    self.text("bloom.error", &show_share(bloom.error));
                }
                if let Some(admission) = &plan.admission {
                    self.bare("admission.seen", admission.seen);
                    self.bare("admission.keys_max", admission.keys_max);
                    if let Some(path) = &admission.hot_keys {
                        self.text("admission.hot_keys", &path.to_string_lossy());
                    }
                }
            }
            _ => {}
        }
    }

    fn origin(&mut self, origin: &Origin, rows: Rows) {
        match origin {
            Origin::Table(table) => self.text("table", table),
            Origin::Query(sql) => {
                self.text("query", sql);
                self.text("rows", rows.as_str());
            }
            Origin::Loader => self.text("origin", "loader"),
            Origin::External => self.text("origin", "external"),
        }
    }

    fn invalidation(&mut self, invalidation: &Invalidation) {
        let value = match invalidation {
            Invalidation::Feed(Tags::Row) => quoted("row"),
            Invalidation::Feed(Tags::Any) => quoted("any"),
            Invalidation::Feed(Tags::Groups(groups)) => {
                list(&groups.iter().map(ToString::to_string).collect::<Vec<_>>())
            }
            Invalidation::AgeBounded { owner, reason } => {
                format!("{{ owner = {}, reason = {} }}", quoted(owner), quoted(reason))
            }
        };
        self.bare("invalidation", value);
    }

    /// The key as a list where it is only columns, else with its rules, as dotted keys of the same table.
    fn key(&mut self, key: &KeyPlan) {
        let plain = KeyPlan { scope: key.scope.clone(), columns: key.columns.clone(), ..KeyPlan::default() };
        if *key == plain {
            self.bare("key", list(&key.columns));
            return;
        }
        self.bare("key.columns", list(&key.columns));
        self.bare("key.ignore", list(&key.ignore));
        self.text("key.unknown", if key.unknown == Unknown::Keep { "keep" } else { "refuse" });
        self.text("key.unicode", if key.unicode == Unicode::Nfkc { "nfkc" } else { "nfc" });
        key.parameters.iter().for_each(|parameter| self.parameter(parameter));
    }

    fn parameter(&mut self, parameter: &Parameter) {
        let (kind, values) = match &parameter.kind {
            Kind::Text => ("text", None),
            Kind::Boolean => ("boolean", None),
            Kind::Number => ("number", None),
            Kind::Enum(values) => ("enum", Some(values)),
        };
        let mut rules = format!("type = \"{kind}\"");
        if let Some(values) = values {
            let _ = write!(rules, ", values = {}", list(values));
        }
        let case = if parameter.case == Case::Lower { "lower" } else { "keep" };
        let _ = write!(rules, ", case = \"{case}\", trim = {}", parameter.trim);
        if let Some(default) = &parameter.default {
            let _ = write!(rules, ", default = {}", quoted(default));
        }
        let repeated = if parameter.repeated == Repeated::Set { "set" } else { "keep" };
        let _ = write!(rules, ", repeated = \"{repeated}\"");
        self.bare(&format!("key.parameters.{}", key_name(&parameter.name)), format!("{{ {rules} }}"));
    }

    /// What a class or `[defaults]` says about a decision.
    fn tunables(&mut self, said: &Tunables, decision: Decision) {
        match decision {
            Decision::Stampede => {
                self.refresh(said.refresh);
                self.number("stampede_scope", said.stampede_scope.map(|scope| quoted(scope.as_str())));
                self.number("loads_max", said.loads_max);
                self.number("priority", said.priority.map(|priority| quoted(priority.as_str())));
                self.span("hard_timeout", said.hard_timeout);
            }
            Decision::Eviction => {
                self.span("life", said.life);
                self.share("jitter", said.jitter);
                self.span("hard_age", said.hard_age);
                self.or_off("negative_life", said.negative_life.map(|life| life.map(show_duration)));
                self.number("l1_eviction", said.l1_eviction.map(|policy| quoted(policy.as_str())));
                self.span("l1_life", said.l1_life);
                self.number("l2", said.l2);
                self.span("l2_life", said.l2_life);
            }
            Decision::ColdStart => {
                match said.cold_start {
                    Some(ColdStart::Empty) => self.text("cold_start", "empty"),
                    Some(ColdStart::Warm { keys_max }) => {
                        self.text("cold_start", "warm");
                        self.bare("warm_keys_max", keys_max);
                    }
                    None => {}
                }
                self.or_off("soft_timeout", said.soft_timeout.map(|span| span.map(show_duration)));
                self.span("failure_backoff", said.failure_backoff);
                self.number("fallback", said.fallback.as_ref().map(fallback));
                self.span("fallback_age_max", said.fallback_age_max);
                self.size("fallback_capacity", said.fallback_capacity);
            }
            Decision::ConsistencyBound => {
                self.span("max_staleness", said.max_staleness);
                self.or_off("serve_stale", said.serve_stale.map(|span| span.map(show_duration)));
            }
            Decision::Measurement => {
                self.share("check_share", said.check_share);
                self.or_off("hit_rate_floor", said.hit_rate_floor.map(|floor| floor.map(show_share)));
                self.span("hit_rate_window", said.hit_rate_window);
            }
            Decision::Size => {
                self.size("value_bytes_max", said.value_bytes_max);
                self.size("l1_capacity", said.l1_capacity);
                self.number("memory_weight", said.memory_weight.map(|weight| format!("{weight:?}")));
            }
            Decision::NeverCache => {
                self.number("at_rest", said.at_rest.map(|choice| quoted(choice.as_str())))
            }
            Decision::Pattern | Decision::Invalidation | Decision::KeyScope => {}
        }
    }

    fn refresh(&mut self, strategy: Option<Strategy>) {
        match strategy {
            Some(Strategy::Wait) => self.text("refresh", "wait"),
            Some(Strategy::Early { beta }) => {
                self.text("refresh", "early");
                self.bare("beta", format!("{beta:?}"));
            }
            Some(Strategy::Background { ahead }) => {
                self.text("refresh", "background");
                self.span("refresh_ahead", Some(ahead));
            }
            None => {}
        }
    }

    fn span(&mut self, key: &str, span: Option<std::time::Duration>) {
        if let Some(span) = span {
            self.text(key, &show_duration(span));
        }
    }

    fn share(&mut self, key: &str, share: Option<f64>) {
        if let Some(share) = share {
            self.text(key, &show_share(share));
        }
    }

    fn size(&mut self, key: &str, bytes: Option<usize>) {
        if let Some(bytes) = bytes {
            self.text(key, &show_bytes(bytes));
        }
    }

    fn number(&mut self, key: &str, number: Option<impl std::fmt::Display>) {
        if let Some(number) = number {
            self.bare(key, number);
        }
    }
}
