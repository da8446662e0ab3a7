//! A script runs once, by name and content.

use std::sync::Arc;

use once::{
    scripts::Script,
    store::{Owned as _, Store as _},
};

use crate::bed::{Bed, both, effect, effects};

both! { a_script_runs_once_and_another_content_under_its_name_never }

async fn a_script_runs_once_and_another_content_under_its_name_never<B: Bed>(bed: Arc<B>) {
    let instances = [bed.once(), bed.once()];
    let tx = instances[0].store().begin().await.unwrap();
    assert_eq!(instances[0].scripts().begin(&tx, "fix-7", b"UPDATE 1").await.unwrap(), Script::First);
    effect(&tx, "fix", "dead").await;
    drop(tx);
    let runs = (0..8).map(|n| {
        let once = instances[n % 2].clone();
        tokio::spawn(async move {
            let tx = once.store().begin().await.unwrap();
            let script = once.scripts().begin(&tx, "fix-7", b"UPDATE 1").await.unwrap();
            if script == Script::First {
                effect(&tx, "fix", &n.to_string()).await;
            }
            tx.commit().await.unwrap();
            script == Script::First
        })
    });
    let mut ran = 0;
    for run in runs.collect::<Vec<_>>() {
        ran += usize::from(run.await.unwrap());
    }
    assert_eq!(ran, 1);
    assert_eq!(effects(instances[0].store(), "fix").await, 1);
    let tx = instances[0].store().begin().await.unwrap();
    assert!(
        matches!(instances[0].scripts().begin(&tx, "fix-7", b"UPDATE 1").await.unwrap(), Script::Ran { at_ms } if at_ms > 0)
    );
    assert!(matches!(
        instances[0].scripts().begin(&tx, "fix-7", b"UPDATE 2").await.unwrap(),
        Script::Changed { .. }
    ));
    assert_eq!(instances[0].scripts().begin(&tx, "fix-8", b"UPDATE 2").await.unwrap(), Script::First);
}
