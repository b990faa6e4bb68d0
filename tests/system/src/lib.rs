//! Boots real images and looks at them from outside.
