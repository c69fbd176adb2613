"""What the black-box tests stand on: private servers, the program under test, and clients."""
