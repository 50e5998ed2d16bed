"""What the tests of all packages share: real servers, real engines, and patience."""
