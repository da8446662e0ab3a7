//! What can be wrong with a key, or with the form a class declares for its keys.

use compact_str::CompactString;
use thiserror::Error;

/// A key was refused. Messages name declared dimensions, parts and parameters, never what the caller sent: a key may
/// hold personal data, and an unknown name may be a value that lost its place.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The class declares a scope dimension that the key does not carry.
    #[error("scope dimension `{dimension}` is missing: write `class@{dimension}=VALUE:KEY`, or use `Scoped`")]
    MissingScope {
        /// Declared name.
        dimension: CompactString,
    },
    /// The key carries a scope dimension that the class does not declare.
    #[error("scope dimension number {position} is not declared for this class; declared: {declared}")]
    UnknownScope {
        /// Place in the given scope, from 1.
        position: usize,
        /// Declared names, or `none`.
        declared: String,
    },
    /// The same dimension was given twice.
    #[error("scope dimension `{dimension}` is given twice: give it once")]
    RepeatedScope {
        /// Declared name.
        dimension: CompactString,
    },
    /// The text begins with a scope that does not end.
    #[error("the scope has no end: write `@NAME=VALUE:` before the key, and a leading `@` of a key as `%40`")]
    UnclosedScope,
    /// A value is not of its column's or parameter's type.
    #[error("`{part}` must be {expected}")]
    WrongType {
        /// Declared name of the part, dimension or parameter.
        part: CompactString,
        /// What the type accepts.
        expected: &'static str,
    },
    /// A parameter's value is not among the declared ones.
    #[error("`{parameter}` must be one of: {allowed}")]
    NotOneOf {
        /// Declared name.
        parameter: CompactString,
        /// Declared values, separated by commas.
        allowed: String,
    },
    /// Too few or too many key parts.
    #[error(
        "the key has {given} part(s), the class has {expected}: separate parts by `,`, a comma inside one is `%2C`"
    )]
    WrongArity {
        /// Parts given.
        given: usize,
        /// Parts declared.
        expected: usize,
    },
    /// Parts were given to a class of parameters, or parameters to a class of parts.
    #[error("this class is keyed by {expected}")]
    WrongShape {
        /// `parts`, as in `1,2`, or `parameters`, as in `a=1&b=2`.
        expected: &'static str,
    },
    /// The key, or the text it came in, is too long.
    #[error("the key is longer than {bytes_max} bytes: use a shorter key, or a digest of the long part")]
    TooLong {
        /// The limit that was passed, in bytes.
        bytes_max: usize,
    },
    /// A `%` without two hexadecimal digits, or bytes that are not UTF-8.
    #[error("the key is not percent-encoded UTF-8: write a literal `%` as `%25`")]
    BadEncoding,
    /// `!` begins a part, but none of the forms that it stands for.
    #[error(
        "`{part}` begins with `!` but is none of `!null`, `!xHEX`, `!tTEXT`: write a literal `!` as `%21`"
    )]
    BadMark {
        /// Declared name.
        part: CompactString,
    },
    /// A parameter that the class neither declares nor ignores.
    #[error("parameter number {position} is not declared for this class; declared: {declared}")]
    UnknownParameter {
        /// Place among the given parameters, from 1.
        position: usize,
        /// Declared names, or `none`.
        declared: String,
    },
    /// A required parameter is absent.
    #[error("parameter `{parameter}` is required: add `{parameter}=VALUE`")]
    MissingParameter {
        /// Declared name.
        parameter: CompactString,
    },
    /// A parameter declared as single was given several times.
    #[error("parameter `{parameter}` is given twice: give it once")]
    RepeatedParameter {
        /// Declared name.
        parameter: CompactString,
    },
    /// More parameters than the engine reads.
    #[error("the key has more than {max} parameters")]
    TooManyParameters {
        /// The limit.
        max: usize,
    },
}

/// The form declared for a class's keys contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FormError {
    /// Two dimensions, parts or parameters share a name.
    #[error("`{name}` is declared twice in the key: give each dimension, part and parameter its own name")]
    DuplicateName {
        /// The name.
        name: CompactString,
    },
    /// A dimension's name that could not be written unescaped, or an empty name of a parameter.
    #[error(
        "`{name}` is no name: a scope dimension has 1 to 64 letters, digits, `_`, `-`, `.`, a parameter any text"
    )]
    BadName {
        /// The name.
        name: CompactString,
    },
    /// The default or an allowed value does not fit the parameter's own rule.
    #[error("a declared value of parameter `{parameter}` does not fit its rule: {source}")]
    BadDeclaredValue {
        /// Declared name.
        parameter: CompactString,
        /// Why it does not fit.
        source: KeyError,
    },
    /// A required parameter with a default, which could never be missing.
    #[error("parameter `{parameter}` is required and has a default: keep one of the two")]
    RequiredWithDefault {
        /// Declared name.
        parameter: CompactString,
    },
    /// A declared parameter is also ignored by name.
    #[error("parameter `{parameter}` is both declared and ignored: keep one of the two")]
    DeclaredAndIgnored {
        /// Declared name.
        parameter: CompactString,
    },
    /// Too many dimensions, parts or parameters.
    #[error("a key has at most {max} of each: dimensions, parts, parameters")]
    TooMany {
        /// The limit.
        max: usize,
    },
}
