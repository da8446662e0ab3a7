//! `TRUEUP.*`: reads with evidence, tokens, invalidation.

use std::sync::Arc;

use trueup::catalog::{Answer, CatalogClass, Demand};
use trueup_core::key::Key;

use super::{Commands, refusal, several::value};
use crate::{
    node::{AskError, Target, check_count, parse_token},
    resp::{
        Outcome, Session,
        command::{ReadMany, ReadOne, ReadOptions},
        reply::Reply,
    },
};

impl Commands {
    /// `TRUEUP.GET`: `[value, version, age_ms, served_by]`.
    pub(super) fn read(&self, session: &Session, read: &ReadOne<'_>, reply: &mut Reply<'_>) -> Outcome {
        let asked = self.class(read.class).and_then(|class| Ok((class, key(class, read.key)?)));
        let ((class, key), demand) = match asked.and_then(|asked| Ok((asked, demand(&read.options)?))) {
            Ok(asked) => asked,
            Err(error) => return refusal::now(reply, &error),
        };
        if let Some(answer) = class.peek(&key, demand) {
            evidence(reply, &answer.into());
            return Outcome::Done;
        }
        let (class, format) = (Arc::clone(class), session.format());
        // One key is one state whether or not `CONSISTENT` is said.
        Outcome::pending(async move {
            let answer = class.read(&key, demand).await;
            format.encode(|reply| match answer {
                Ok(answer) => evidence(reply, &answer),
                Err(error) => refusal::write(reply, &error.into()),
            })
        })
    }

    /// `TRUEUP.MGET`: an array of what `TRUEUP.GET` answers.
    pub(super) fn read_many(&self, session: &Session, read: &ReadMany<'_>, reply: &mut Reply<'_>) -> Outcome {
        let asked = || {
            check_count(read.keys.len())?;
            let class = self.class(read.class)?;
            let keys = read.keys.iter().map(|text| key(class, text)).collect::<Result<Vec<_>, _>>()?;
            Ok((class, keys, demand(&read.options)?))
        };
        let (class, keys, demand) = match asked() {
            Ok(asked) => asked,
            Err(error) => return refusal::now(reply, &error),
        };
        let (class, format, consistent) = (Arc::clone(class), session.format(), read.options.consistent);
        Outcome::pending(async move {
            let answers = class.read_many(&keys, demand, consistent).await;
            format.encode(|reply| match answers {
                Ok(answers) => {
                    reply.array(answers.len());
                    answers.iter().for_each(|answer| evidence(reply, answer));
                }
                Err(error) => refusal::write(reply, &error.into()),
            })
        })
    }

    /// `TRUEUP.TOKEN`.
    pub(super) fn token(&self, session: &Session) -> Outcome {
        let (cache, format) = (self.node.catalog().cache().clone(), session.format());
        Outcome::pending(async move {
            let token = cache.token().await;
            format.encode(|reply| match token {
                Ok(token) => reply.bulk(token.to_string().as_bytes()),
                Err(error) => refusal::write(reply, &error.into()),
            })
        })
    }

    /// `TRUEUP.INVALIDATE class:key` or `TRUEUP.INVALIDATE class`: answers a token.
    pub(super) fn invalidate(&self, session: &Session, tag: &[u8], reply: &mut Reply<'_>) -> Outcome {
        let target = match Target::parse(&self.node, tag) {
            Ok(target) => target,
            Err(error) => return refusal::now(reply, &error),
        };
        let (node, format) = (self.node.clone(), session.format());
        Outcome::pending(async move {
            let token = node.invalidate_here(&[target]).await;
            format.encode(|reply| match token {
                Ok(token) => reply.bulk(token.to_string().as_bytes()),
                Err(error) => refusal::of_invalidation(reply, &error),
            })
        })
    }

    pub(super) fn class(&self, name: &[u8]) -> Result<&Arc<CatalogClass>, AskError> {
        // What is no text is no class either; the error shows neither.
        Ok(self.node.catalog().class(std::str::from_utf8(name).unwrap_or_default())?)
    }
}

pub(super) fn key(class: &CatalogClass, text: &[u8]) -> Result<Key, AskError> {
    let text = std::str::from_utf8(text).map_err(|_| AskError::NotText)?;
    class.form().parse(text).map_err(|why| AskError::key(class, why))
}

fn demand(options: &ReadOptions<'_>) -> Result<Demand, AskError> {
    let token = options.token.map(parse_token).transpose()?;
    Ok(Demand { token, max_staleness: options.max_staleness })
}

fn evidence(reply: &mut Reply<'_>, answer: &Answer) {
    reply.array(4);
    evidence_of(reply, answer);
}

/// The four elements themselves.
pub(super) fn evidence_of(reply: &mut Reply<'_>, answer: &Answer) {
    value(reply, answer);
    reply.bulk(format!("{:016x}", answer.version()).as_bytes());
    reply.integer(i64::try_from(answer.age().as_millis()).unwrap_or(i64::MAX));
    reply.bulk(answer.served_by().as_str().as_bytes());
}
