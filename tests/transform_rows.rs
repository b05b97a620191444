//! Every row of every table of the transform's rules, one test each: settings and records in, literal ends out. The
//! library and the reference must both give the literal.

mod reference;

#[path = "transform_rows/bench.rs"]
mod bench;
#[path = "transform_rows/codec.rs"]
mod codec;
#[path = "transform_rows/delivery.rs"]
mod delivery;
#[path = "transform_rows/filters.rs"]
mod filters;
#[path = "transform_rows/form.rs"]
mod form;
#[path = "transform_rows/order.rs"]
mod order;
#[path = "transform_rows/properties.rs"]
mod properties;
#[path = "transform_rows/settings.rs"]
mod settings;
#[path = "transform_rows/time.rs"]
mod time;
