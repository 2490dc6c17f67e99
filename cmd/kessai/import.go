package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"kessai/gateway"
	"kessai/merchants"
)

func importCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import FILE...",
		Short: "Add or change merchants, terminals, API keys, customers and cards",
		Example: `  kessai import --data kessai-data configs/demo.yaml
  kessai import --config configs/kessai.yaml media.csv terminals.csv`,
		Long: `Reads each file (YAML or CSV; docs/REGISTRY.md describes both) and carries out
all of it or nothing. Where a gateway runs on the data folder, the file goes to
it through its admin socket and is in force at once; where none runs, the folder
is opened directly. An import that was interrupted can be repeated.`,
		Args: cobra.MinimumNArgs(1),
	}
	load := addConfigFlags(cmd)
	cmd.RunE = action("import", func(cmd *cobra.Command, files []string) error {
		l, err := load()
		if err != nil {
			return err
		}
		progress := progressBar(cmd.ErrOrStderr())
		for _, file := range files {
			summary, err := importFile(cmd.Context(), &l.Config, newLogger(cmd.ErrOrStderr(), l.Log), file, progress)
			if err != nil {
				return importError(file, err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", file, summary)
		}
		return nil
	})
	return cmd
}

func importError(file string, err error) error {
	if _, ok := errors.AsType[*exitError](err); ok {
		return err
	}
	next := "correct the file and import it again"
	if _, ok := errors.AsType[*merchants.FileError](err); !ok {
		next = "put right what it says and import the file again; doing it twice does no harm"
	}
	return fail("cannot import "+file, err, next)
}

// importFile imports one file through the gateway that runs on the data folder,
// or into the folder itself where none runs. It gives the summary as JSON.
func importFile(ctx context.Context, c *Config, log *slog.Logger, file string, progress gateway.Progress) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, &exitError{exitFailed, "cannot read " + file, plainPath(err), "give the path of a file of records"}
	}
	defer f.Close()
	name := filepath.Base(file)
	// Not f itself: whoever sends it would close it.
	summary, err := gateway.AdminImport(ctx, c.adminSocket(), name, io.NopCloser(f), progress)
	if !errors.Is(err, gateway.ErrNoGateway) {
		return summary, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	im, err := merchants.ParseImport(name, f)
	if err != nil {
		return nil, err
	}
	s, err := openStores(c, log, progress)
	if err != nil {
		return nil, err
	}
	sum, err := s.importRecords(ctx, im, progress)
	if err := errors.Join(err, s.close()); err != nil {
		return nil, err
	}
	return json.Marshal(sum)
}

// importRecords puts records into the registry and tells of its progress.
func (s *stores) importRecords(ctx context.Context, im *merchants.Import, progress gateway.Progress) (merchants.Summary, error) {
	var told func(done, total int)
	if progress != nil {
		told = func(done, total int) { progress("importing", uint64(done), uint64(total)) }
	}
	return s.registry.Import(ctx, im, told)
}

// importStream is what the admin socket calls: it reads the file off the wire
// and imports it.
func (s *stores) importStream(ctx context.Context, name string, r io.Reader, progress gateway.Progress) (any, error) {
	im, err := merchants.ParseImport(name, r)
	if err != nil {
		return nil, err
	}
	return s.importRecords(ctx, im, progress)
}
