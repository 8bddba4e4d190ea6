//! Stand-ins for tests and the demo. Never part of the image.
