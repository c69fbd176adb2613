package core
var m = MigrationScript{Schema: nil, Tags: []string{"a
