//! Query parameters that tell who sent a visitor and never what a page shows.

use super::begins_without_case;

/// Changes with the list, so that keys made by another list are another plan's keys.
pub(super) const LIST_VERSION: &str = "1";

/// Families of names that one analytics product claims as a whole.
const PREFIXES: [&str; 9] =
    ["utm_", "mtm_", "matomo_", "pk_", "piwik_", "hsa_", "gad_", "_bta_", "redirect_mongo_"];

/// Single names, in lower case, by what they belong to. Names that a shop may well use for something of its own (`si`,
/// `campid`, `toolid`, `customid`, `rtid`) are left out: declare those as ignored where they are.
const NAMES: [&[&str]; 6] = [
    // Click identifiers that advertisers append.
    &[
        "fbclid",
        "gclid",
        "gclsrc",
        "dclid",
        "gbraid",
        "wbraid",
        "srsltid",
        "twclid",
        "yclid",
        "msclkid",
        "ttclid",
        "ndclid",
        "sccid",
        "irclickid",
        "vmcid",
        "epik",
        "igshid",
        "ef_id",
        "s_kwcid",
        "mkwid",
        "pcrid",
        "dm_i",
    ],
    // Analytics across domains, feeds and merchant centres.
    &["_ga", "_gl", "gpromocode", "gqt", "gdfms", "gdftrk", "gdffi", "_branch_match_id"],
    // Newsletters and messages.
    &["mc_cid", "mc_eid", "trk_contact", "trk_msg", "trk_module", "trk_sid", "_ke", "_kx"],
    &["sms_source", "sms_click", "sms_uph", "redirect_log_mongo_id", "sb_referer_host"],
    // Attribution of other channels.
    &["tw_source", "tw_campaign", "tw_term", "tw_content", "tw_adid"],
    // Partner programmes.
    &["mkevt", "mkcid", "mkrid"],
];

/// Whether `name` is known to track visitors only. ASCII letter case does not count.
#[must_use]
pub fn is_tracking_parameter(name: &str) -> bool {
    PREFIXES.iter().any(|prefix| begins_without_case(name, prefix))
        || NAMES.iter().any(|names| names.iter().any(|known| name.eq_ignore_ascii_case(known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_and_names_are_known_in_any_letter_case() {
        for name in ["utm_source", "UTM_Whatever", "gclid", "ScCid", "gPromoCode", "_ga"] {
            assert!(is_tracking_parameter(name), "{name}");
        }
        for name in ["", "q", "page", "utm", "si", "id", "trk", "ga", "campid"] {
            assert!(!is_tracking_parameter(name), "{name}");
        }
    }
}
