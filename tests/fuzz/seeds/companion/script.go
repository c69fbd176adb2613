package core

import (
	_ "embed"
	"example.org/bfm/backends"
)

//go:embed x.up.sql
var upSQL string

func init() {
	migration := &backends.MigrationScript{
		Schema: "tenant_a", Table: `people`, Version: "20250101120000", // \u00e4
		Dependencies: []string{"a", "b" + `c`, /* "d" */},
		Tags: []string{"env=prod", "caf\u00e9=\x41\n"},
		StructuredDependencies: []backends.Dependency{
			{Connection: "core", Schema: "s", Target: "users", TargetType: "name", RequiresTable: "users"},
		},
		UpSQL: upSQL, DownSQL: fmt.Sprintf("%s", '\''),
	}
	backends.Register(migration)
}
