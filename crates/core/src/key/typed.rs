//! Keys as Rust types: what a class is keyed by, and scoped to, is checked by the compiler.

use compact_str::CompactString;

use super::SqlValue;

/// One part of a key: anything that is one SQL value.
///
/// ```
/// use trueup_core::key::{KeyPart, SqlValue};
/// struct UserId(i64);
/// impl KeyPart for UserId {
///     fn value(&self) -> SqlValue<'_> { SqlValue::Int(self.0) }
/// }
/// ```
pub trait KeyPart {
    /// The part as an SQL value. Its text is made by the class's form, so two spellings of one value need no care here.
    fn value(&self) -> SqlValue<'_>;
}

macro_rules! key_part_of_numbers {
    ($($variant:ident: $($number:ty),+;)+) => {$($(
        impl KeyPart for $number {
            #[inline]
            fn value(&self) -> SqlValue<'_> {
                SqlValue::$variant((*self).into())
            }
        }
    )+)+};
}

key_part_of_numbers! {
    Int: i8, i16, i32, i64, u8, u16, u32;
    Uint: u64;
    Bool: bool;
}

impl KeyPart for str {
    #[inline]
    fn value(&self) -> SqlValue<'_> {
        SqlValue::Text(self)
    }
}

impl KeyPart for String {
    #[inline]
    fn value(&self) -> SqlValue<'_> {
        SqlValue::Text(self)
    }
}

impl KeyPart for CompactString {
    #[inline]
    fn value(&self) -> SqlValue<'_> {
        SqlValue::Text(self)
    }
}

impl<P: KeyPart + ?Sized> KeyPart for &P {
    #[inline]
    fn value(&self) -> SqlValue<'_> {
        (**self).value()
    }
}

/// What the body of a key consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyShape {
    /// This many values of columns.
    Columns(usize),
    /// Named parameters.
    Parameters,
}

/// A type that names a value of a class.
///
/// Implemented for every [`KeyPart`], for tuples of up to six of them (composite keys) and for [`Scoped`]. Implement it
/// for a struct of several columns, or of parameters, by hand.
pub trait CacheKey {
    /// What the body consists of.
    const SHAPE: KeyShape;
    /// Names of the scope dimensions that the key carries.
    const DIMENSIONS: &'static [&'static str] = &[];

    /// Part number `index` of a key of columns, from 0.
    fn part(&self, index: usize) -> Option<SqlValue<'_>>;

    /// Shows each parameter of a key of parameters; `Null` stands for an absent one.
    fn parameters(&self, _visit: &mut dyn FnMut(&str, SqlValue<'_>)) {}

    /// The value of one of [`Self::DIMENSIONS`].
    fn dimension(&self, _name: &str) -> Option<SqlValue<'_>> {
        None
    }
}

impl<P: KeyPart + ?Sized> CacheKey for P {
    const SHAPE: KeyShape = KeyShape::Columns(1);

    #[inline]
    fn part(&self, index: usize) -> Option<SqlValue<'_>> {
        (index == 0).then(|| self.value())
    }
}

macro_rules! cache_key_of_tuples {
    ($($count:literal: $($part:ident $index:tt),+;)+) => {$(
        impl<$($part: KeyPart),+> CacheKey for ($($part,)+) {
            const SHAPE: KeyShape = KeyShape::Columns($count);

            #[inline]
            fn part(&self, index: usize) -> Option<SqlValue<'_>> {
                match index {
                    $($index => Some(self.$index.value()),)+
                    _ => None,
                }
            }
        }
    )+};
}

cache_key_of_tuples! {
    1: A 0;
    2: A 0, B 1;
    3: A 0, B 1, C 2;
    4: A 0, B 1, C 2, D 3;
    5: A 0, B 1, C 2, D 3, E 4;
    6: A 0, B 1, C 2, D 3, E 4, F 5;
}

/// A scope dimension as a type, such as the tenant of a request.
pub trait ScopeDimension: KeyPart {
    /// The name that the class declares.
    const NAME: &'static str;
}

/// What a key must carry besides its parts: one [`ScopeDimension`], or a tuple of up to four.
pub trait Scope {
    /// Names of the dimensions.
    const DIMENSIONS: &'static [&'static str];

    /// The value of one of them.
    fn dimension(&self, name: &str) -> Option<SqlValue<'_>>;
}

impl<D: ScopeDimension> Scope for D {
    const DIMENSIONS: &'static [&'static str] = &[D::NAME];

    #[inline]
    fn dimension(&self, name: &str) -> Option<SqlValue<'_>> {
        (name == D::NAME).then(|| self.value())
    }
}

macro_rules! scope_of_tuples {
    ($($($dimension:ident $index:tt),+;)+) => {$(
        impl<$($dimension: ScopeDimension),+> Scope for ($($dimension,)+) {
            const DIMENSIONS: &'static [&'static str] = &[$($dimension::NAME),+];

            #[inline]
            fn dimension(&self, name: &str) -> Option<SqlValue<'_>> {
                $(if name == $dimension::NAME {
                    return Some(self.$index.value());
                })+
                None
            }
        }
    )+};
}

scope_of_tuples! {
    A 0;
    A 0, B 1;
    A 0, B 1, C 2;
    A 0, B 1, C 2, D 3;
}

/// A key within a scope. A class keyed by `Scoped<Tenant, UserId>` cannot be read with a `UserId`:
///
/// ```compile_fail
/// # use trueup_core::key::{KeyPart, Scoped, ScopeDimension, SqlValue};
/// struct Tenant(String);
/// impl KeyPart for Tenant { fn value(&self) -> SqlValue<'_> { SqlValue::Text(&self.0) } }
/// impl ScopeDimension for Tenant { const NAME: &'static str = "tenant"; }
/// fn read(key: &Scoped<Tenant, i64>) {}
/// read(&42);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scoped<S, K> {
    scope: S,
    key: K,
}

impl<S: Scope, K: CacheKey> Scoped<S, K> {
    /// `key` within `scope`.
    pub const fn new(scope: S, key: K) -> Self {
        const {
            assert!(
                K::DIMENSIONS.is_empty(),
                "the inner key has a scope already: put all dimensions into one tuple"
            )
        };
        Self { scope, key }
    }
}

impl<S, K> Scoped<S, K> {
    /// The scope.
    pub const fn scope(&self) -> &S {
        &self.scope
    }

    /// The key within it.
    pub const fn key(&self) -> &K {
        &self.key
    }
}

impl<S: Scope, K: CacheKey> CacheKey for Scoped<S, K> {
    const SHAPE: KeyShape = K::SHAPE;
    const DIMENSIONS: &'static [&'static str] = S::DIMENSIONS;

    #[inline]
    fn part(&self, index: usize) -> Option<SqlValue<'_>> {
        self.key.part(index)
    }

    #[inline]
    fn parameters(&self, visit: &mut dyn FnMut(&str, SqlValue<'_>)) {
        self.key.parameters(visit);
    }

    #[inline]
    fn dimension(&self, name: &str) -> Option<SqlValue<'_>> {
        self.scope.dimension(name)
    }
}
