//! Configurations: their `with_…` methods, each of which has its field's documentation.

/// Writes a configuration's struct together with its `with_…` methods, so that a field is documented in one place.
///
/// A field is written as in a struct. `=> with_name` after its type adds the method, and further attributes of the
/// field follow in brackets; the method is as visible as the field:
///
/// ```text
/// config! {
///     /// Configuration of a …
///     #[derive(Clone, Debug)]
///     pub struct ThingConfig {
///         /// Number of things, at least 1.
///         pub count: usize,
///         /// Length in pixels. Default 28.
///         pub side: usize => with_side,
///         /// Place of computation. Default: the CPU.
///         pub place: Place => with_place [serde(skip)],
///     }
/// }
/// ```
macro_rules! config {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $(
                $(#[doc = $doc:expr])*
                $vis:vis $field:ident: $type:ty $(=> $setter:ident)? $([$($attribute:meta),*])?
            ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        pub struct $name {
            $(
                $(#[doc = $doc])*
                $($(#[$attribute])*)?
                $vis $field: $type,
            )*
        }

        impl $name {
            $(config! { @setter [$($doc),*] $vis $field: $type $(=> $setter)? })*
        }
    };
    (@setter [$($doc:expr),*] $vis:vis $field:ident: $type:ty) => {};
    (@setter [$($doc:expr),*] $vis:vis $field:ident: $type:ty => $setter:ident) => {
        $(#[doc = $doc])*
        #[must_use]
        $vis fn $setter(mut self, $field: $type) -> Self {
            self.$field = $field;
            self
        }
    };
}
