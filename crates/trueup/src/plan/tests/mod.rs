//! Reading, refusing and writing plans.
