//! `MGET` and `EXISTS`: several keys, perhaps of several classes.

use std::sync::Arc;

use trueup::catalog::{Answer, CatalogClass, Demand};
use trueup_core::{key::Key, receipt::ServedBy};

use super::{Commands, refusal};
use crate::{
    node::{AskError, check_count, find},
    resp::{Outcome, Session, args::Args, reply::Reply},
};

/// Keys with the answers that memory had.
pub(super) struct Several {
    keys: Vec<(Arc<CatalogClass>, Key)>,
    answers: Vec<Option<Answer>>,
}

impl Several {
    /// Looks every key up in memory.
    pub(super) fn look_up(commands: &Commands, keys: Args<'_>) -> Result<Self, AskError> {
        check_count(keys.len())?;
        let found = keys.iter().map(|text| find(&commands.node, text));
        let keys = found
            .map(|found| found.map(|(class, key)| (Arc::clone(class), key)))
            .collect::<Result<Vec<_>, _>>()?;
        let peek = |(class, key): &(Arc<CatalogClass>, Key)| class.peek(key, Demand::default());
        let answers = keys.iter().map(|key| peek(key).map(Answer::from)).collect();
        Ok(Self { keys, answers })
    }

    /// All answers, if memory had them all.
    pub(super) fn complete(&self) -> bool {
        self.answers.iter().all(Option::is_some)
    }

    /// All answers; what memory did not have is read class by class, the keys of one class together. `None` where the
    /// clients of a class have not filled it.
    pub(super) async fn read(mut self) -> Result<Vec<Option<Answer>>, AskError> {
        let mut missing: Vec<usize> = (0..self.keys.len()).filter(|&at| self.answers[at].is_none()).collect();
        while let Some(&first) = missing.first() {
            let class = Arc::clone(&self.keys[first].0);
            let (alike, others) = missing.into_iter().partition(|&at| Arc::ptr_eq(&self.keys[at].0, &class));
            let alike: Vec<usize> = alike;
            missing = others;
            let keys: Vec<Key> = alike.iter().map(|&at| self.keys[at].1.clone()).collect();
            let answers = class.read_filled(&keys, Demand::default()).await?;
            for (at, answer) in alike.into_iter().zip(answers) {
                self.answers[at] = answer;
            }
        }
        Ok(self.answers)
    }
}

impl Commands {
    pub(super) fn mget(&self, session: &Session, keys: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
        self.of_several(session, keys, reply, |reply, answers| {
            reply.array(answers.len());
            answers.iter().for_each(|answer| match answer {
                Some(answer) => value(reply, answer),
                None => reply.nil(),
            });
        })
    }

    pub(super) fn exists(&self, session: &Session, keys: Args<'_>, reply: &mut Reply<'_>) -> Outcome {
        self.of_several(session, keys, reply, |reply, answers| {
            reply.integer(answers.iter().flatten().filter(|answer| answer.value().is_some()).count() as i64);
        })
    }

    fn of_several(
        &self,
        session: &Session,
        keys: Args<'_>,
        reply: &mut Reply<'_>,
        write: fn(&mut Reply<'_>, &[Option<Answer>]),
    ) -> Outcome {
        let several = match Several::look_up(self, keys) {
            Ok(several) => several,
            Err(error) => return refusal::now(reply, &error),
        };
        if several.complete() {
            write(reply, &several.answers);
            return Outcome::Done;
        }
        let format = session.format();
        Outcome::pending(async move {
            let answers = several.read().await;
            format.encode(|reply| match answers {
                Ok(answers) if answers.iter().flatten().any(stands_in) => refusal::unlabelled(reply),
                Ok(answers) => write(reply, &answers),
                Err(error) => refusal::write(reply, &error),
            })
        })
    }
}

/// Whether an answer is what the plan declares to stand in. A plain Redis client is not given it: the reply has no place for a
/// label, and nobody may take it for data.
pub(super) fn stands_in(answer: &Answer) -> bool {
    answer.served_by() == ServedBy::Fallback
}

/// A value, or nil.
pub(super) fn value(reply: &mut Reply<'_>, answer: &Answer) {
    match answer.value() {
        Some(value) => reply.bulk(value),
        None => reply.nil(),
    }
}
