//! The one normal form of a class's keys, and the ways into it.

mod text;

use std::{borrow::Cow, fmt::Write};

use compact_str::CompactString;

use self::text::{
    Canonical, TOO_LONG, borrowed, check_arity, count_parts, refused, scope_pairs, split_scope, typed_pairs,
    write_parameters, write_part,
};
use super::{
    Affinity, CacheKey, ColumnForm, FormError, Key, KeyError, KeyName, KeyShape, MalformedValue,
    OwnedSqlValue, ParamForm, SqlValue, escape::Place,
};
use crate::limits::{KEY_INPUT_BYTES_MAX, KEY_PARTS_MAX};

/// Longest name of a dimension, in bytes: names of dimensions are part of every key.
const DIMENSION_BYTES_MAX: usize = 64;
/// Changes when the meaning of any form changes, so that no entry of an older meaning is found.
const FORM_VERSION: &str = "1";

/// A scope dimension that every key of the class carries: tenant, role, locale, flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dimension {
    name: CompactString,
    form: ColumnForm,
}

/// One column of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    name: CompactString,
    form: ColumnForm,
}

macro_rules! named_form {
    ($type:ident) => {
        impl $type {
            /// A name and the form of its values.
            pub fn new(name: impl Into<CompactString>, form: ColumnForm) -> Self {
                Self { name: name.into(), form }
            }

            /// The declared name.
            #[must_use]
            pub fn name(&self) -> &str {
                &self.name
            }

            /// The form of the values.
            #[must_use]
            pub const fn form(&self) -> ColumnForm {
                self.form
            }
        }
    };
}

named_form!(Dimension);
named_form!(Part);

/// What the body of a class's keys consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyBodyForm {
    /// Values of columns, in this order.
    Columns(Vec<Part>),
    /// Free parameters.
    Parameters(ParamForm),
}

impl KeyBodyForm {
    /// Whether an integer is its own canonical text here.
    fn is_one_integer(&self) -> bool {
        let Self::Columns(parts) = self else { return false };
        let [part] = parts.as_slice() else { return false };
        match part.form {
            ColumnForm::Integer => true,
            ColumnForm::Sqlite { affinity, .. } => matches!(affinity, Affinity::Integer | Affinity::Numeric),
            _ => false,
        }
    }
}

/// The normal form of a class's keys: two spellings of one thing become one [`Key`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyForm {
    /// Sorted by name, the order in which a key shows them.
    scope: Vec<Dimension>,
    body: KeyBodyForm,
    /// Whether an integer is its own canonical text here.
    is_one_integer: bool,
}

/// The body of a key that arrived in pieces, already percent-decoded.
#[derive(Clone, Copy)]
pub enum KeyPieces<'a> {
    /// Values of columns.
    Parts(&'a [&'a str]),
    /// Names and values of parameters.
    Parameters(&'a [(&'a str, &'a str)]),
}

/// What a key says, typed for binding it in a query. There is no `Debug`: a key may hold personal data.
#[derive(Clone, PartialEq)]
pub struct KeyValues {
    /// Name and value of each scope dimension.
    pub scope: Vec<(CompactString, OwnedSqlValue)>,
    /// The body.
    pub body: KeyBody,
}

/// The body of a key, taken apart.
#[derive(Clone, PartialEq)]
pub enum KeyBody {
    /// One value for each declared column.
    Columns(Vec<OwnedSqlValue>),
    /// Names and canonical values, sorted by name, defaults included.
    Parameters(Vec<(String, String)>),
}

/// Splits `class:key` and `class@scope:key` as clients write them into the class and what follows it, the text for
/// [`KeyForm::parse`]. `None` when there is no class or nothing ends it.
#[must_use]
pub fn split_class(text: &str) -> Option<(&str, &str)> {
    let end = text.find([':', '@']).filter(|end| *end > 0)?;
    let (class, rest) = text.split_at(end);
    Some((class, rest.strip_prefix(':').unwrap_or(rest)))
}

pub(super) fn names_or_none<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

fn check_dimension(name: &str) -> Result<(), FormError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let good = (1..=DIMENSION_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain);
    if good { Ok(()) } else { Err(FormError::BadName { name: name.into() }) }
}

fn check_names<'a>(names: impl Iterator<Item = &'a CompactString>) -> Result<(), FormError> {
    let mut names: Vec<&CompactString> = names.collect();
    names.sort();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(FormError::DuplicateName { name: pair[0].clone() }),
        None if names.len() > KEY_PARTS_MAX => Err(FormError::TooMany { max: KEY_PARTS_MAX }),
        None => Ok(()),
    }
}

impl KeyForm {
    /// Keys of columns. Without parts, the class has one value for each scope.
    ///
    /// # Errors
    /// [`FormError`] when a name is repeated, or there are more than 32 parts.
    pub fn columns(parts: impl IntoIterator<Item = Part>) -> Result<Self, FormError> {
        let parts: Vec<Part> = parts.into_iter().collect();
        check_names(parts.iter().map(|part| &part.name))?;
        Ok(Self::unscoped(KeyBodyForm::Columns(parts)))
    }

    /// Keys of free parameters.
    ///
    /// # Errors
    /// [`FormError`] when the declarations contradict each other.
    pub fn parameters(form: ParamForm) -> Result<Self, FormError> {
        Ok(Self::unscoped(KeyBodyForm::Parameters(form.validate()?)))
    }

    /// Requires these dimensions of every key.
    ///
    /// # Errors
    /// [`FormError`] when a name is repeated or cannot be written.
    pub fn scoped_by(mut self, dimensions: impl IntoIterator<Item = Dimension>) -> Result<Self, FormError> {
        self.scope.extend(dimensions);
        self.scope.iter().try_for_each(|dimension| check_dimension(&dimension.name))?;
        check_names(self.scope.iter().map(|dimension| &dimension.name))?;
        self.scope.sort_by(|a, b| a.name.cmp(&b.name));
        self.is_one_integer = self.scope.is_empty() && self.body.is_one_integer();
        Ok(self)
    }

    /// The dimensions, sorted by name.
    #[must_use]
    pub fn scope(&self) -> &[Dimension] {
        &self.scope
    }

    /// What the body consists of.
    #[must_use]
    pub const fn body(&self) -> &KeyBodyForm {
        &self.body
    }

    /// Shows `look` the name by which a key is looked up. One integer, the commonest key, is not written for it: moving its text
    /// through a [`Key`] would cost a hit as much as finding the entry.
    ///
    /// # Errors
    /// [`KeyError`], as [`KeyForm::key`].
    #[inline]
    pub fn with_name<K: CacheKey + ?Sized, R>(
        &self,
        key: &K,
        look: impl FnOnce(KeyName<'_>) -> R,
    ) -> Result<R, KeyError> {
        let made;
        // One call of `look` for both, so that it can be compiled into its caller.
        let name = if matches!(K::SHAPE, KeyShape::Columns(1))
            && K::DIMENSIONS.is_empty()
            && self.is_one_integer
            && let Some(SqlValue::Int(int)) = key.part(0)
            && let Some(name) = KeyName::of_integer(int)
        {
            name
        } else {
            made = self.key(key)?;
            KeyName::of(made.as_str())
        };
        Ok(look(name))
    }

    fn unscoped(body: KeyBodyForm) -> Self {
        Self { scope: Vec::new(), is_one_integer: body.is_one_integer(), body }
    }

    /// Whether a key of this class can name one row's tag; otherwise it depends on the whole table.
    #[must_use]
    pub fn has_row_tag(&self) -> bool {
        match &self.body {
            KeyBodyForm::Columns(parts) => {
                !parts.is_empty() && parts.iter().all(|part| part.form.has_row_tag())
            }
            KeyBodyForm::Parameters(_) => false,
        }
    }

    /// Checks once, when a class is opened with a key type, that the type carries what the class declares.
    ///
    /// # Errors
    /// [`KeyError`] naming the first difference in scope or shape.
    pub fn accepts<K: CacheKey + ?Sized>(&self) -> Result<(), KeyError> {
        self.check_scope_of::<K>()?;
        match (&self.body, K::SHAPE) {
            (KeyBodyForm::Columns(parts), KeyShape::Columns(given)) if given != parts.len() => {
                Err(KeyError::WrongArity { given, expected: parts.len() })
            }
            (KeyBodyForm::Columns(_), KeyShape::Columns(_))
            | (KeyBodyForm::Parameters(_), KeyShape::Parameters) => Ok(()),
            _ => Err(self.wrong_shape()),
        }
    }

    /// The key of a typed value. Allocates only when the canonical text is longer than 24 bytes.
    ///
    /// # Errors
    /// [`KeyError`] when the type does not fit the class, or a value not its column.
    #[inline]
    pub fn key<K: CacheKey + ?Sized>(&self, key: &K) -> Result<Key, KeyError> {
        let mut out = Canonical::default();
        if self.scope.len() != K::DIMENSIONS.len() {
            self.check_scope_of::<K>()?;
        }
        if !self.scope.is_empty() {
            self.write_scope(&mut out, |dimension, out| match key.dimension(&dimension.name) {
                Some(value) => dimension.form.write_value(value, Place::Scope, out).map(Some),
                None => Ok(None),
            })?;
        }
        match (&self.body, K::SHAPE) {
            (KeyBodyForm::Columns(parts), KeyShape::Columns(given)) => {
                check_arity(given, parts.len())?;
                for (index, part) in parts.iter().enumerate() {
                    let value = key
                        .part(index)
                        .ok_or(KeyError::WrongArity { given: index, expected: parts.len() })?;
                    write_part(&mut out, index, part, |out| part.form.write_value(value, Place::Body, out))?;
                }
            }
            (KeyBodyForm::Parameters(form), KeyShape::Parameters) => {
                write_parameters(&mut out, &form.canonical(typed_pairs(key)?.iter().map(borrowed))?)?;
            }
            _ => return Err(self.wrong_shape()),
        }
        Ok(Key::from_canonical(out.0))
    }

    /// The key that a text names: what follows the class in a client's key (see [`split_class`]).
    ///
    /// # Errors
    /// [`KeyError`] saying what is wrong and how to write it.
    pub fn parse(&self, text: &str) -> Result<Key, KeyError> {
        if text.len() > KEY_INPUT_BYTES_MAX {
            return Err(KeyError::TooLong { bytes_max: KEY_INPUT_BYTES_MAX });
        }
        let (scope, body) = split_scope(text)?;
        let mut out = Canonical::default();
        let pairs: Vec<(Cow<'_, str>, &str)> = scope_pairs(scope)?;
        self.check_given_scope(pairs.iter().map(|(name, _)| name.as_ref()))?;
        self.write_scope(&mut out, |dimension, out| {
            match pairs.iter().find(|(name, _)| *name == dimension.name) {
                Some((_, raw)) => dimension.form.write_encoded(raw, Place::Scope, out).map(Some),
                None => Ok(None),
            }
        })?;
        match &self.body {
            KeyBodyForm::Columns(parts) => {
                check_arity(count_parts(parts, body), parts.len())?;
                for (index, (part, raw)) in parts.iter().zip(body.split(',')).enumerate() {
                    write_part(&mut out, index, part, |out| part.form.write_encoded(raw, Place::Body, out))?;
                }
            }
            KeyBodyForm::Parameters(form) => {
                let pairs = form.decode_query(body)?;
                write_parameters(&mut out, &form.canonical(pairs.iter().map(borrowed))?)?;
            }
        }
        Ok(Key::from_canonical(out.0))
    }

    /// The key of pieces that arrived separately and are already percent-decoded, as over HTTP: nothing in them has a
    /// meaning beyond its own text.
    ///
    /// # Errors
    /// As [`KeyForm::parse`].
    pub fn assemble(&self, scope: &[(&str, &str)], body: KeyPieces<'_>) -> Result<Key, KeyError> {
        let mut out = Canonical::default();
        self.check_given_scope(scope.iter().map(|(name, _)| *name))?;
        self.write_scope(&mut out, |dimension, out| {
            match scope.iter().find(|(name, _)| *name == dimension.name) {
                Some((_, text)) => dimension.form.write_spelled(text, Place::Scope, out).map(Some),
                None => Ok(None),
            }
        })?;
        match (&self.body, body) {
            (KeyBodyForm::Columns(parts), KeyPieces::Parts(texts)) => {
                check_arity(texts.len(), parts.len())?;
                for (index, (part, text)) in parts.iter().zip(texts).enumerate() {
                    write_part(&mut out, index, part, |out| part.form.write_spelled(text, Place::Body, out))?;
                }
            }
            (KeyBodyForm::Parameters(form), KeyPieces::Parameters(pairs)) => {
                write_parameters(&mut out, &form.canonical(pairs.iter().copied())?)?;
            }
            _ => return Err(self.wrong_shape()),
        }
        Ok(Key::from_canonical(out.0))
    }

    /// Takes a key apart into typed values, for the loader's query.
    ///
    /// # Errors
    /// [`KeyError`] when the key is of another class's form.
    pub fn values(&self, key: &Key) -> Result<KeyValues, KeyError> {
        let (scope, body) = split_scope(key.as_str())?;
        let pairs = scope_pairs(scope)?;
        self.check_given_scope(pairs.iter().map(|(name, _)| name.as_ref()))?;
        let mut values = Vec::with_capacity(self.scope.len());
        for dimension in &self.scope {
            let found = pairs.iter().find(|(name, _)| *name == dimension.name);
            let (_, raw) = found.ok_or(KeyError::MissingScope { dimension: dimension.name.clone() })?;
            let value = dimension.form.read(raw).map_err(|why| refused(&dimension.name, why))?;
            values.push((dimension.name.clone(), value));
        }
        let body = match &self.body {
            KeyBodyForm::Columns(parts) => {
                check_arity(count_parts(parts, body), parts.len())?;
                let read =
                    |(part, raw): (&Part, _)| part.form.read(raw).map_err(|why| refused(&part.name, why));
                KeyBody::Columns(parts.iter().zip(body.split(',')).map(read).collect::<Result<_, _>>()?)
            }
            KeyBodyForm::Parameters(form) => {
                let pairs = form.decode_query(body)?;
                let owned =
                    |(name, value): (Cow<'_, str>, Cow<'_, str>)| (name.into_owned(), value.into_owned());
                KeyBody::Parameters(form.with_defaults(pairs.into_iter().map(owned).collect()))
            }
        };
        Ok(KeyValues { scope: values, body })
    }

    /// Shows everything that decides how a key is written, unambiguously and the same in every build of this version:
    /// part of a class's digest, so that entries of another form are not found.
    pub fn fingerprint(&self, sink: &mut impl FnMut(&[u8])) {
        let mut line = |fields: &[&str]| {
            for field in fields {
                sink(&(field.len() as u64).to_le_bytes());
                sink(field.as_bytes());
            }
            sink(&u64::MAX.to_le_bytes());
        };
        line(&["key-form", FORM_VERSION]);
        let name_of = |form: ColumnForm| {
            let mut name = String::new();
            let written = form.write_name(&mut name);
            debug_assert!(written.is_ok(), "a String takes all text");
            name
        };
        for dimension in &self.scope {
            line(&["scope", &dimension.name, &name_of(dimension.form)]);
        }
        match &self.body {
            KeyBodyForm::Columns(parts) => {
                parts.iter().for_each(|part| line(&["column", &part.name, &name_of(part.form)]));
            }
            KeyBodyForm::Parameters(form) => form.describe(&mut line),
        }
    }

    fn write_scope(
        &self,
        out: &mut Canonical,
        mut write: impl FnMut(&Dimension, &mut Canonical) -> Result<Option<()>, MalformedValue>,
    ) -> Result<(), KeyError> {
        for (index, dimension) in self.scope.iter().enumerate() {
            let separator = if index == 0 { "@" } else { "&" };
            for text in [separator, &dimension.name, "="] {
                out.write_str(text).map_err(|_| TOO_LONG)?;
            }
            let written = write(dimension, out).map_err(|why| refused(&dimension.name, why))?;
            written.ok_or_else(|| KeyError::MissingScope { dimension: dimension.name.clone() })?;
        }
        if self.scope.is_empty() { Ok(()) } else { out.write_char(':').map_err(|_| TOO_LONG) }
    }

    fn check_given_scope<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<(), KeyError> {
        let mut seen = [false; KEY_PARTS_MAX];
        for (at, name) in names.enumerate() {
            let known = self.scope.iter().position(|dimension| dimension.name == name);
            let known = known.ok_or_else(|| self.unknown_scope(at + 1))?;
            if std::mem::replace(&mut seen[known], true) {
                return Err(KeyError::RepeatedScope { dimension: self.scope[known].name.clone() });
            }
        }
        let missing = self.scope.iter().zip(seen).find(|(_, seen)| !seen);
        missing.map_or(Ok(()), |(dimension, _)| {
            Err(KeyError::MissingScope { dimension: dimension.name.clone() })
        })
    }

    #[cold]
    fn check_scope_of<K: CacheKey + ?Sized>(&self) -> Result<(), KeyError> {
        self.check_given_scope(K::DIMENSIONS.iter().copied())
    }

    fn unknown_scope(&self, position: usize) -> KeyError {
        let declared = names_or_none(self.scope.iter().map(|dimension| dimension.name.as_str()));
        KeyError::UnknownScope { position, declared }
    }

    const fn wrong_shape(&self) -> KeyError {
        KeyError::WrongShape {
            expected: match self.body {
                KeyBodyForm::Columns(_) => "parts, as in `1,2`",
                KeyBodyForm::Parameters(_) => "parameters, as in `a=1&b=2`",
            },
        }
    }
}
