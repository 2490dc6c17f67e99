package main

import (
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// configEnv names the configuration file where --config does not.
const configEnv = "KESSAI_CONFIG"

// addConfigFlags gives a command the flags that lead to a configuration, and
// gives the function that loads it once the flags are parsed.
func addConfigFlags(cmd *cobra.Command) func() (*loaded, error) {
	var file string
	var set []string
	f := cmd.Flags()
	f.StringVar(&file, "config", os.Getenv(configEnv), "configuration `FILE` (environment: "+configEnv+")")
	f.String("data", "", "data `FOLDER`: sets data")
	f.StringArrayVar(&set, "set", nil, "set any setting, as `KEY=VALUE`; may be repeated")
	return func() (*loaded, error) {
		flags := make(map[string]string)
		for name := range flagKeys {
			if fl := f.Lookup(name); fl != nil && fl.Changed {
				flags[name] = fl.Value.String()
			}
		}
		return settings{file: file, environ: os.Environ(), flags: flags, set: set}.load()
	}
}

func configCommand() *cobra.Command {
	var sources bool
	show := &cobra.Command{
		Use:   "print",
		Short: "Print the configuration in force, secrets redacted",
		Example: `  kessai config print
  kessai config print --config configs/kessai.yaml --sources
  KESSAI_LOG_LEVEL=debug kessai config print --sources`,
		Long: `Prints the configuration that serve would run with, as YAML. With --sources it
prints one setting a line and where its value comes from: a flag, an environment
variable, the file, or the default. Secrets show as ****.`,
		Args: cobra.NoArgs,
	}
	load := addConfigFlags(show)
	show.Flags().BoolVar(&sources, "sources", false, "show where each value comes from")
	show.RunE = action("print the configuration", func(cmd *cobra.Command, _ []string) error {
		l, err := load()
		if err != nil {
			return err
		}
		if sources {
			return l.printSources(cmd.OutOrStdout())
		}
		e := yaml.NewEncoder(cmd.OutOrStdout())
		e.SetIndent(2)
		return e.Encode(&l.Config)
	})
	return group(&cobra.Command{
		Use:     "config",
		Short:   "Show the configuration",
		Example: "  kessai config print --config configs/kessai.yaml --sources",
	}, show)
}

// printSources prints one line for each setting: key, value, source.
func (l *loaded) printSources(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range l.inForce() {
		fmt.Fprintf(t, "%s\t%s\t%s\n", s.key, s.value, s.source)
	}
	return t.Flush()
}

// setting is one value in force, secrets redacted.
type setting struct{ key, value, source string }

func (l *loaded) inForce() (all []setting) {
	eachSetting(&l.Config, func(key string, v reflect.Value) {
		all = append(all, setting{key, shown(v.Interface()), l.sources[key]})
	})
	return all
}

// shown writes a value as it is shown to people; a secret hides itself.
func shown(value any) string {
	s := fmt.Sprint(value)
	if d, ok := value.(time.Duration); ok {
		s = short(d)
	}
	if s == "" {
		s = `""`
	}
	return s
}

// eachSetting calls f with every setting, in the order of the file.
func eachSetting(c *Config, f func(key string, v reflect.Value)) {
	var walk func(key string, v reflect.Value)
	walk = func(key string, v reflect.Value) {
		switch v.Kind() {
		case reflect.Struct:
			for field, value := range v.Fields() {
				walk(key+"."+field.Tag.Get("yaml"), value)
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(fmt.Sprintf("%s[%d]", key, i), v.Index(i))
			}
		default:
			f(strings.TrimPrefix(key, "."), v)
		}
	}
	walk("", reflect.ValueOf(c).Elem())
}
