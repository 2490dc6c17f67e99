package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"kessai/pos/iso8583"
)

func isoCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "iso",
		Short: "Read, write and send ISO 8583 messages",
		Example: `  kessai iso decode 30383030...
  echo '{"mti":"0800","7":"1122033912","11":"000001","70":"301"}' | kessai iso encode
  kessai iso send --fill 0=0800 70=301`,
	}, isoDecodeCommand(), isoEncodeCommand(), isoSendCommand())
}

// isoForm is how messages are written, by the flags of the iso commands.
type isoForm struct {
	dialect, dialectsDir string
	framing              string
	inclusive            bool
	tpdu                 string
	unmasked, binary     bool
}

// maxInput bounds what is read from standard input or a file, in bytes.
const maxInput = 1 << 20

func (f *isoForm) flags(cmd *cobra.Command, framing string) {
	fl := cmd.Flags()
	fl.StringVar(&f.dialect, "dialect", iso8583.ASCII, "how fields are written: `NAME` of a dialect")
	fl.StringVar(&f.dialectsDir, "dialects-dir", "", "`FOLDER` with more dialects, as iso.dialects_dir")
	fl.StringVar(&f.framing, "framing", framing, "length before the message: binary2, ascii4, bcd2 or none")
	fl.BoolVar(&f.inclusive, "length-counts-itself", false, "the length counts its own bytes too")
	fl.StringVar(&f.tpdu, "tpdu", "", "the 5-byte TPDU before the message, as `HEX`, for example 6000010002")
}

func (f *isoForm) framed() bool { return f.framing != "none" }

// resolve gives what the flags stand for.
func (f *isoForm) resolve() (d *iso8583.Dialect, fr iso8583.Framing, t iso8583.TPDU, err error) {
	if d, err = findDialect(f.dialect, f.dialectsDir); err != nil {
		return nil, fr, t, usage("--dialect "+f.dialect+" cannot be used", err.Error(), "name one of those, or give --dialects-dir")
	}
	if f.framed() {
		if fr.Length, err = iso8583.ParseLengthForm(f.framing); err != nil {
			return nil, fr, t, usage("--framing "+f.framing+" is not known", err.Error(), "use binary2, ascii4, bcd2 or none")
		}
	}
	fr.Inclusive = f.inclusive
	if f.tpdu != "" {
		b, err := hex.DecodeString(f.tpdu)
		if err != nil || len(b) != len(t) || !f.framed() {
			return nil, fr, t, usage("--tpdu is not understood", "it takes 10 hexadecimal digits and needs a framing", "write for example --framing binary2 --tpdu 6000010002")
		}
		fr.TPDU, t = true, iso8583.TPDU(b)
	}
	return d, fr, t, nil
}

// show gives a message as JSON, masked unless asked otherwise.
func (f *isoForm) show(w io.Writer, d *iso8583.Dialect, m *iso8583.Message) error {
	line := m.AppendMasked(nil)
	if f.unmasked {
		line = d.AppendJSON(nil, m)
	}
	_, err := w.Write(append(line, '\n'))
	return err
}

func isoDecodeCommand() *cobra.Command {
	var f isoForm
	cmd := &cobra.Command{
		Use:   "decode [HEX]",
		Short: "Turn ISO 8583 messages into JSON",
		Example: `  kessai iso decode 30383030...
  kessai iso decode --dialect iso87-bcd --unmasked < message.hex
  kessai iso decode --binary --framing binary2 < capture.bin`,
		Long: `Reads messages in hexadecimal digits, from the command line or standard input,
or as they are with --binary, and prints each as one line of JSON. Without
--framing there is one message and no length before it. Card numbers show their
last four digits, and other secrets nothing, unless --unmasked is given.`,
		Args: cobra.MaximumNArgs(1),
	}
	f.flags(cmd, "none")
	cmd.Flags().BoolVar(&f.unmasked, "unmasked", false, "print every value in clear, secrets too")
	cmd.Flags().BoolVar(&f.binary, "binary", false, "standard input holds the bytes themselves, not hexadecimal digits")
	cmd.RunE = action("decode", func(cmd *cobra.Command, args []string) error {
		d, framing, _, err := f.resolve()
		if err != nil {
			return err
		}
		raw, err := f.input(cmd.InOrStdin(), args)
		if err != nil {
			return err
		}
		return f.decode(cmd.OutOrStdout(), d, framing, raw)
	})
	return cmd
}

func (f *isoForm) decode(w io.Writer, d *iso8583.Dialect, framing iso8583.Framing, raw []byte) error {
	var m iso8583.Message
	one := func(body []byte) error {
		bad := d.Decode(&m, body)
		if err := f.show(w, d, &m); err != nil {
			return err
		}
		if bad != nil {
			return fail("the message cannot be read whole", bad, "check --dialect and --framing; the fields before the fault are printed")
		}
		return nil
	}
	if !f.framed() {
		return one(raw)
	}
	frames := iso8583.NewFrameReader(bytes.NewReader(raw), framing, maxInput)
	for {
		frame, err := frames.Next(nil)
		if err == io.EOF {
			return nil
		}
		if err == io.ErrUnexpectedEOF {
			err = errors.New("the input ends inside a frame")
		}
		if err != nil {
			return fail("cannot find the next message", err, "check --framing, --length-counts-itself and --tpdu")
		}
		if err := one(frame.Body); err != nil {
			return err
		}
	}
}

// input gives the bytes to decode.
func (f *isoForm) input(stdin io.Reader, args []string) ([]byte, error) {
	if f.binary && len(args) > 0 {
		return nil, usage("--binary does not go with a message on the command line", "bytes come from standard input", "leave out one of the two")
	}
	text := []byte(strings.Join(args, ""))
	if len(args) == 0 {
		var err error
		if text, err = readAll(stdin); err != nil || f.binary {
			return text, err
		}
	}
	raw, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		// hex's own error would show the character, which may be part of a secret.
		return nil, usage("the input is not hexadecimal", "it does not consist of pairs of hexadecimal digits", "give hexadecimal digits, or --binary for the bytes themselves")
	}
	return raw, nil
}

func readAll(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err == nil && len(b) > maxInput {
		err = fmt.Errorf("the input is longer than %d bytes", maxInput)
	}
	return b, err
}

func isoEncodeCommand() *cobra.Command {
	var f isoForm
	cmd := &cobra.Command{
		Use:   "encode [FIELD=VALUE... | FILE]",
		Short: "Turn JSON into an ISO 8583 message",
		Example: `  kessai iso encode 0=0800 7=1122033912 11=000001 70=301
  echo '{"mti":"0800","7":"1122033912","11":"000001","70":"301"}' | kessai iso encode --framing binary2
  kessai iso encode --dialect iso87-bcd --binary message.json > message.bin`,
		Long: `Reads a message as fields on the command line, or as JSON from a file or standard
input, and prints it in hexadecimal digits, or as it is with --binary. Field 0
("mti" in JSON) is the message type; the others go by their numbers.`,
	}
	f.flags(cmd, "none")
	cmd.Flags().BoolVar(&f.binary, "binary", false, "print the bytes themselves, not hexadecimal digits")
	cmd.RunE = action("encode", func(cmd *cobra.Command, args []string) error {
		d, framing, tpdu, err := f.resolve()
		if err != nil {
			return err
		}
		var m iso8583.Message
		if err := readMessage(d, &m, cmd.InOrStdin(), args); err != nil {
			return err
		}
		out, err := d.Append(nil, &m)
		if err == nil && f.framed() {
			out, err = framing.Append(nil, tpdu, out)
		}
		if err != nil {
			return unwritable(err)
		}
		if !f.binary {
			out = append(hex.AppendEncode(nil, out), '\n')
		}
		_, err = cmd.OutOrStdout().Write(out)
		return err
	})
	return cmd
}

func unwritable(err error) error {
	return fail("the message cannot be written", err, "correct the field; docs/ISO8583.md says what each may hold")
}

// readMessage reads a message from FIELD=VALUE arguments, or as JSON from the
// file that is named, or from standard input.
func readMessage(d *iso8583.Dialect, m *iso8583.Message, stdin io.Reader, args []string) (err error) {
	var text []byte
	switch {
	case len(args) == 0:
		text, err = readAll(stdin)
	case len(args) == 1 && !strings.Contains(args[0], "="):
		if text, err = os.ReadFile(args[0]); err != nil {
			return fail("cannot read "+args[0], errors.New(plainPath(err)), "give a file with a message in JSON, or fields as FIELD=VALUE")
		}
	default:
		text, err = fieldsJSON(args)
	}
	if err != nil {
		return err
	}
	if err := d.ParseJSON(m, text); err != nil {
		return usage("the message is not understood", err.Error(), "write fields as 0=0200 3=000000, or JSON as {\"mti\":\"0200\",\"3\":\"000000\"}")
	}
	return nil
}

// fieldsJSON turns 0=0200 3=000000 into {"mti":"0200","3":"000000"}. Arguments
// can hold card numbers: no message repeats one.
func fieldsJSON(args []string) ([]byte, error) {
	fields := make(map[string]string)
	for i, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if name == "0" {
			name = "mti"
		}
		_, twice := fields[name]
		if !ok || twice {
			return nil, usage(fmt.Sprintf("field %d on the command line is not understood", i+1),
				"it has no equals sign, or names a field that was given before", "write FIELD=VALUE, for example 0=0200 3=000000 4=450")
		}
		fields[name] = value
	}
	return json.Marshal(fields)
}
