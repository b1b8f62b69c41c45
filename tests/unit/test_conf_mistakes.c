/* SPDX-License-Identifier: MIT
 * Every kind of mistake in a configuration, alone and together, with the exact
 * lines that are told: the messages are what people see of conf/.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "conf/conf.h"
#include "tests/unit/apart.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* One that must be refused with exactly these lines. */
static void bad(const char *text, const char *expected)
{
	struct conf_errors errors = {0};
	struct conf *conf = conf_parse(text, "t", &errors);
	if (conf || strcmp(buf_text(&errors.text), expected) != 0)
		fail_msg("%s\ngave:\n%s\nexpected:\n%s", text, buf_text(&errors.text), expected);
	size_t lines = 0;
	for (const char *p = expected; (p = strchr(p, '\n')); p++)
		lines++;
	assert_int_equal(errors.count, lines);
	conf_errors_free(&errors);
}

/* Each mistake alone: text, the lines it gives. */
static const char *const mistakes[][2] = {
    /* kinds of values */
    {"\nworkers = \"2\";",
	"t:2: workers: is a text in quotes, expected a whole number from 0 to 64 without quotes\n"},
    {"workers = 1.0;", "t:1: workers: is a number with a decimal point, expected a whole "
		       "number from 0 to 64 without quotes\n"},
    {"workers = 65;", "t:1: workers: 65 is out of range, expected 0 to 64\n"},
    {"workers = -1;", "t:1: workers: -1 is out of range, expected 0 to 64\n"},
    {"workers = 4294967297;",
	"t:1: workers: 4294967297 is too large a number, expected at most 2147483647\n"},
    {"workers = 0x100000001;",
	"t:1: workers: 0x100000001 is too large a number, expected at most 2147483647\n"},
    {"workers = 4294967297L;", "t:1: workers: 4294967297 is out of range, expected 0 to 64\n"},
    {"limits = { message_size = 25; };",
	"t:1: limits.message_size: is a number, expected a size with its unit in quotes, like "
	"\"25M\"\n"},
    {"limits = { message_size = \"25\"; };",
	"t:1: limits.message_size: \"25\": has no unit, expected a size: a whole number and one "
	"of K, M, G, T or B, like \"25M\"\n"},
    {"limits = { message_size = \"2G\"; };",
	"t:1: limits.message_size: \"2G\": is out of range, expected \"1K\" to \"1G\"\n"},
    {"limits = { text_line = \"9M\"; };",
	"t:1: limits.text_line: \"9M\": is out of range, expected \"1000B\" to \"8M\"\n"},
    {"dns = { timeout = \"10 s\"; };",
	"t:1: dns.timeout: \"10 s\": expected a duration: whole numbers, each with one of w, d, "
	"h, m, s or ms, like \"5m\" or \"1h30m\"\n"},
    {"dns = { dnssec = \"true\"; };",
	"t:1: dns.dnssec: is a text in quotes, expected true or false without quotes\n"},
    {"log = \"file\";",
	"t:1: log: \"file\": expected one of \"stderr\", \"syslog\", \"journal\"\n"},
    {"received = \"\";", "t:1: received: \"\": expected one of \"show\", \"hide\"\n"},
    {"listen = { };",
	"t:1: listen: is a group { }, expected a list of groups: ( { key = value; ... }, { ... } "
	")\n"},
    {"listen = ( 5 );",
	"t:1: listen: is a number, expected a list of groups: ( { key = value; ... }, { ... } )\n"},
    {"limits = ( );", "t:1: limits: is a list ( ), expected a group: { key = value; ... }\n"},
    {"trusted_networks = \"::1\";", "t:1: trusted_networks: is a text in quotes, expected texts "
				    "in brackets: [ \"...\", \"...\" ]\n"},
    {"queue = { backoff = [ ]; };", "t:1: queue.backoff: is empty, expected at least one\n"},
    {"queue = { backoff = [\n\"1m\",\n\"9999d\" ]; };",
	"t:3: queue.backoff: \"9999d\": expected a duration: whole numbers, each with one of w, "
	"d, h, m, s or ms, like \"5m\" or \"1h30m\"\n"},
    /* texts */
    {"user = \"a\\nb\";", "t:1: user: \"a\\x0ab\": holds a control character at byte 2, "
			  "expected a line of text\n"},
    {"user = \"a\xc2\x85\";", "t:1: user: \"a\\xc2\\x85\": holds a control character at byte 2, "
			      "expected a line of text\n"},
    {"user = \"\xff\";", "t:1: user: \"\\xff\": is not valid UTF-8\n"},
    {"hostname = \"\";", "t:1: hostname: \"\": is empty, expected a host name\n"},
    {"hostname = \"a_b\";", "t:1: hostname: \"a_b\": is not a host name, expected letters, "
			    "digits, hyphens and dots\n"},
    {"hostname = \"192.0.2.1\";", "t:1: hostname: \"192.0.2.1\": ends in a number, expected a "
				  "host name like \"relay.example.org\"\n"},
    {"hostname = \"a.\";", "t:1: hostname: \"a.\": has a dot too many, expected \"example.org\"\n"},
    {"spool = \"spool\";", "t:1: spool.path: \"spool\": expected an absolute path (\"/...\")\n"},
    {"notify = { mail = \"admin\"; };", "t:1: notify.mail: \"admin\": has no @, expected an "
					"address like \"bounce@example.org\"\n"},
    {"notify = { mail = \"a b@example.org\"; };",
	"t:1: notify.mail: \"a b@example.org\": expected at most 64 letters, digits, dots and "
	"hyphens before the @, without quotes and spaces\n"},
    /* addresses */
    {"listen = ( { address = \"localhost\"; } );",
	"t:1: listen.address: \"localhost\": expected a numeric IPv4 or IPv6 address without "
	"brackets and port (\"0.0.0.0\" and \"::\" are all of them), or the absolute path of a "
	"Unix socket\n"},
    {"trusted_networks = [ \"10.1.2.3/8\" ];",
	"t:1: trusted_networks: \"10.1.2.3/8\": has bits set behind the first 8; the network is "
	"\"10.0.0.0/8\", the one address \"10.1.2.3\"\n"},
    {"trusted_networks = [ \"2001:db8::1/64\" ];",
	"t:1: trusted_networks: \"2001:db8::1/64\": has bits set behind the first 64; the "
	"network is \"2001:db8::/64\", the one address \"2001:db8::1\"\n"},
    {"trusted_networks = [ \"0.0.0.0/0\" ];",
	"t:1: trusted_networks: \"0.0.0.0/0\": would let strangers relay (an open relay); "
	"expected at least /8\n"},
    {"trusted_networks = [ \"::ffff:0:0/96\" ];",
	"t:1: trusted_networks: \"::ffff:0:0/96\": would let strangers relay (an open relay); "
	"expected at least /8\n"},
    {"listen = ( { address = \"::\"; proxy = [ \"::/0\" ]; } );",
	"t:1: listen.proxy: \"::/0\": would let strangers say who they are, and so relay; expected "
	"at least /7\n"},
    {"trusted_networks = [ \"10.0.0.0/33\" ];",
	"t:1: trusted_networks: \"10.0.0.0/33\": expected a number from 0 to 32 behind the "
	"slash\n"},
    {"dns = { servers = [ \"127.0.0.1@0\" ]; };",
	"t:1: dns.servers: \"127.0.0.1@0\": expected a numeric address, with a port if it is not "
	"53: \"127.0.0.1@5353\"\n"},
    {"sources = ( { name = \"a\"; ipv4 = \"::1\"; } );",
	"t:1: sources.ipv4: \"::1\": expected an IPv4 address like \"192.0.2.10\"\n"},
    {"sources = ( { name = \"a\"; ipv6 = \"::\"; } );",
	"t:1: sources.ipv6: \"::\": means any address, expected an IPv6 address like "
	"\"2001:db8::10\" that this machine has\n"},
    {"sources = ( { name = \"a\"; since = \"2026-02-29\"; } );",
	"t:1: sources.since: \"2026-02-29\": that month has no day 29\n"},
    {"sources = ( { name = \"a\"; since = \"1.11.2026\"; } );",
	"t:1: sources.since: \"1.11.2026\": expected a date like \"2026-11-01\"\n"},
    /* keys */
    {"hostnmae = \"a\";", "t:1: hostnmae: is not known, did you mean \"hostname\"?\n"},
    {"limits = { mesage_size = \"1M\"; };",
	"t:1: limits.mesage_size: is not known, did you mean \"message_size\"?\n"},
    {"lifetime = \"1d\";", "t:1: lifetime: is not known here, expected it as \"queue.lifetime\"\n"},
    {"queue_lifetime = \"1d\";",
	"t:1: queue_lifetime: is not known here, expected it as \"queue.lifetime\"\n"},
    {"reputation = { probes = [ \"1h\", \"1h\", \"1h\", \"1h\", \"1h\", \"1h\", \"1h\", "
     "\"1h\", \"1h\" ]; };",
	"t:1: reputation.probes: has 9 steps, at most 8 are possible\n"},
    {"reputation = { warmup_start = 0; hold_max = \"91d\"; };",
	"t:1: reputation.warmup_start: 0 is out of range, expected 1 to 1000000\n"
	"t:1: reputation.hold_max: \"91d\": is out of range, expected \"0\" to \"90d\"\n"},
    {"zzzzzz = 1;", "t:1: zzzzzz: is not known\n"},
    {"listen = (\n{ port = 25; } );", "t:2: listen.address: is missing\n"},
    {"clients = ( { name = \"a\"; certificates = [ \"sha256:12\", \"host.test\" ]; } );",
	"t:1: clients.certificates: \"sha256:12\" is no fingerprint, expected 64 hexadecimal digits "
	"as openssl x509 -fingerprint -sha256 prints them\n"
	"t:1: clients.certificates: \"host.test\" is a name, and anybody can make a certificate "
	"with it: expected tls.client_ca, or \"sha256:\" and a fingerprint\n"},
    {"clients = ( { name = \"a\"; }, { name = \"a\"; login = \"b\"; networks = [ \"10.0.0.0/8\" ]; "
     "domains = [ \"foreign.test\" ]; via = [ \"ip9\" ]; } );",
	"t:1: clients.name: \"a\" has neither, expected one of login (or certificates) and networks\n"
	"t:1: clients.name: \"a\" has both, expected one of login (or certificates) and networks\n"
	"t:1: clients.name: \"a\" is listed twice\n"
	"t:1: clients.domains: \"foreign.test\" is not in domains, nor under one\n"
	"t:1: clients.via: \"ip9\" is neither a source nor a smarthost, expected one of "
	"\"default\"\n"},
    {"routes = ( { match = \"*\"; } );", "t:1: routes.via: is missing\n"},
    /* what keys mean to each other */
    {"listen = ( { address = \"/x\"; port = 25; } );",
	"t:1: listen.port: a Unix socket has no port, expected none\n"},
    {"listen = ( { address = \"/x\";\nproxy = [ \"127.0.0.1\" ]; } );",
	"t:2: listen.proxy: no balancer has an address on a Unix socket, expected none\n"},
    {"listen = ( { address = \"0.0.0.0\"; auth = true; } );",
	"t:1: listen.auth: passwords would cross the network in the clear, expected tls = "
	"\"starttls\" or \"implicit\" here\n"},
    {"listen = ( { address = \"::\";\ntls = \"starttls\"; } );",
	"t:2: listen.tls: there is no certificate to show, expected tls = { certificate = "
	"\"...\"; key = \"...\"; } at the top level\n"},
    {"listen = ( { address = \"127.0.0.1\";\ntls = \"starttls\"; auth = true; },\n"
     "{ address = \"127.0.0.1\"; tls = \"implicit\"; } );\ntls = { certificate = \"\"; key = \"\"; };",
	"t:2: listen.tls: there is no certificate to show, expected tls = { certificate = "
	"\"...\"; key = \"...\"; } at the top level\n"
	"t:3: listen.tls: there is no certificate to show, expected tls = { certificate = "
	"\"...\"; key = \"...\"; } at the top level\n"},
    {"tls = { certificate = \"/dev/null\"; key = \"\"; };",
	"t:1: tls.key: is missing, a certificate is of no use without its key\n"
	"t:1: tls.certificate: \"/dev/null\": is not a regular file\n"},
    {"tls = { certificate = \"\"; key = \"/dev/null\"; };\n"
     "certificates = ( { certificate = \"/dev/null\"; key = \"/dev/null\"; } );",
	"t:1: tls.certificate: is missing, a key is of no use without its certificate\n"
	"t:1: tls.key: \"/dev/null\": is not a regular file\n"
	"t:2: tls.certificate: is missing; those in certificates stand beside it\n"
	"t:2: certificates.certificate: \"/dev/null\": is not a regular file\n"
	"t:2: certificates.key: \"/dev/null\": is not a regular file\n"},
    {"control = \"/run/a.sock\";\nlisten = ( { address = \"/run/b.sock\"; },\n"
     "{ address = \"/run/a.sock\"; } );",
	"t:3: listen.address: \"/run/a.sock\" is the socket of control, expected one of its own\n"},
    {"listen = ( { address = \"0.0.0.0\"; },\n{ address = \"127.0.0.1\"; }, { address = \"::\"; },\n"
     "{ address = \"127.0.0.1\"; port = 2525; }, { address = \"::1\"; port = 2525; },\n"
     "{ address = \"0:0::1\"; port = 2525; } );",
	"t:2: listen.address: \"127.0.0.1\" can not have this port, since \"0.0.0.0\" has it "
	"already; expected one of them\n"
	"t:4: listen.address: \"0:0::1\" can not have this port, since \"::1\" has it already; "
	"expected one of them\n"},
    {"spool = \"/var/spool/x/\";\ndrop = \"/var/spool/x\";",
	"t:2: drop: \"/var/spool/x\" is the spool, which nobody else may enter; expected a folder "
	"of its own\n"},
    {"spool = \"/var/spool/x\";\ndrop = \"/var/spool//x/./drop\";",
	"t:2: drop: \"/var/spool//x/./drop\" is in the spool, which nobody else may enter; "
	"expected a folder of its own\n"},
    {"spool = \"/var/spool/x/spool\";\ndrop = \"/var/spool/x/\";",
	"t:2: drop: the spool is in \"/var/spool/x/\", where anybody may write; expected a folder "
	"of its own\n"},
    {"spool = \"/var/spool/x\";\ncontrol = \"/var/spool/x\";",
	"t:2: control: \"/var/spool/x\" is the spool or in it, where nobody else may enter; "
	"expected a socket elsewhere\n"},
    {"spool = \"/var/spool/x\";\nlisten = ( { address = \"/var/spool/x/submit.sock\"; } );",
	"t:2: listen.address: \"/var/spool/x/submit.sock\" is the spool or in it, where nobody "
	"else may enter; expected a socket elsewhere\n"},
    {"spool = \"/var/spool/x\";\ncontrol = \"/var/spool/x-drop/c.sock\";",
	"t:2: control: \"/var/spool/x-drop/c.sock\" is the drop folder or in it, where anybody may "
	"write; expected a socket elsewhere\n"},
    {"control = \"/tmp\";\nlisten = ( { address = \"/usr/\"; } );",
	"t:1: control: \"/tmp\" is a folder, expected the path of a socket in one\n"
	"t:2: listen.address: \"/usr/\" is a folder, expected the path of a socket in one\n"},
    {"listen = ( { address = \"::\"; }, { address = \"::\"; port = 25; } );",
	"t:1: listen.address: \"::\" with this port is listed twice\n"},
    {"domains = ( { name = \"a.jp\"; },\n{ name = \"A.JP\"; } );",
	"t:2: domains.name: \"a.jp\" is listed twice\n"},
    {"domains = ( { name = \"a.jp\"; return_path = \"x@b.jp\"; } );",
	"t:1: domains.return_path: \"x@b.jp\": \"b.jp\" is not in domains nor below one of them, "
	"so SPF would pass for a stranger's domain and not count for DMARC; expected an address "
	"like \"bounce@a.jp\"\n"},
    {"domains = ( { name = \"a.jp\"; } );\nreturn_path = { default_domain = \"b.jp\"; };",
	"t:2: return_path.default_domain: \"b.jp\" is not in domains\n"},
    {"return_path = { mode = \"always\"; };",
	"t:1: return_path.mode: there is no domain to rewrite to, expected one in domains\n"},
    {"sources = ( { name = \"a\"; }, { name = \"a\"; } );",
	"t:1: sources.name: \"a\" is listed twice\n"},
    {"smarthosts = ( { name = \"default\"; host = \"h\"; } );",
	"t:1: smarthosts.name: \"default\" is the name of another smarthost or source\n"},
    {"smarthosts = ( { name = \"s\"; host = \"[192.0.2.1]:25\"; } );",
	"t:1: smarthosts.host: \"[192.0.2.1]:25\": expected a host name or a numeric address "
	"without brackets; the port is a key of its own\n"},
    {"smarthosts = ( { name = \"s\"; host = \"h\"; user = \"u\"; } );",
	"t:1: smarthosts.password_file: is missing, user needs one\n"},
    {"smarthosts = ( { name = \"s\"; host = \"h\"; user = \"u\"; password_file = \"\"; },\n"
     "{ name = \"t\"; host = \"h\"; user = \"\"; password_file = \"/dev/null\"; },\n"
     "{ name = \"u\"; host = \"h\"; user = \"\"; password_file = \"\"; } );",
	"t:1: smarthosts.password_file: is missing, user needs one\n"
	"t:2: smarthosts.user: is missing, password_file needs one\n"
	"t:2: smarthosts.password_file: \"/dev/null\": is not a regular file\n"},
    {"routes = ( { match = \"*\"; via = [ \"default\",\n\"ip9\" ]; } );",
	"t:2: routes.via: \"ip9\" is neither a source nor a smarthost, expected one of "
	"\"default\"\n"},
    {"routes = ( { match = \"*\"; via = [ \"default\", \"default\" ]; } );",
	"t:1: routes.via: \"default\" is listed twice\n"},
    {"routes = ( { match = \"ex*.org\"; via = [ \"default\" ]; } );",
	"t:1: routes.match: \"ex*.org\": expected \"*\", \"example.org\" or \"*.example.org\"\n"},
    {"queue = { window_start = 21; };",
	"t:1: queue.window_start: 21 is more than window_max, which is 20\n"},
    {"delivery = { ipv4 = false; ipv6 = false; };",
	"t:1: delivery.ipv6: with ipv4 and ipv6 both false nothing can be delivered\n"},
    {"spool = { segment_size = \"1M\"; };",
	"t:1: spool.big_message: is more than half of segment_size, which must hold smaller "
	"messages whole\n"},
    /* what was refused is told once, and the lines of what is behind it stay right */
    {"routes = ( { match = \"*\"; via = [ \"bad name\",\n\"nosuch\",\n\"bad name\" ]; } );",
	"t:1: routes.via: \"bad name\": expected up to 63 letters, digits, \"-\", \"_\" and \".\", a "
	"letter or digit first\n"
	"t:2: routes.via: \"nosuch\" is neither a source nor a smarthost, expected one of "
	"\"default\"\n"
	"t:3: routes.via: \"bad name\": expected up to 63 letters, digits, \"-\", \"_\" and \".\", a "
	"letter or digit first\n"},
    {"clients = ( { name = \"a\"; login = \"b\"; domains = [ \"-x\",\n\"foreign.test\" ]; } );",
	"t:1: clients.domains: \"-x\": has a hyphen beside a dot or at an end, which no host name "
	"has\n"
	"t:2: clients.domains: \"foreign.test\" is not in domains, nor under one\n"},
    {"clients = ( { name = \"a\"; networks = [ \"10.0.0.1/8\" ]; },\n{ name = \"b c\"; login = 5; },\n"
     "{ name = \"b c\"; networks = \"::1\"; } );",
	"t:1: clients.networks: \"10.0.0.1/8\": has bits set behind the first 8; the network is "
	"\"10.0.0.0/8\", the one address \"10.0.0.1\"\n"
	"t:2: clients.name: \"b c\": expected up to 63 letters, digits, \"-\", \"_\" and \".\", a "
	"letter or digit first\n"
	"t:2: clients.login: is a number, expected a text in quotes\n"
	"t:3: clients.name: \"b c\": expected up to 63 letters, digits, \"-\", \"_\" and \".\", a "
	"letter or digit first\n"
	"t:3: clients.networks: is a text in quotes, expected texts in brackets: [ \"...\", \"...\" "
	"]\n"},
    {"listen = ( { address = \"0.0.0.0\"; port = 70000; },\n{ address = \"0.0.0.0\"; },\n"
     "{ address = \"::\"; port = 587; tls = \"startls\"; auth = true; } );",
	"t:1: listen.port: 70000 is out of range, expected 1 to 65535\n"
	"t:3: listen.tls: \"startls\": expected one of \"none\", \"starttls\", \"implicit\"\n"},
    {"listen = ( { address = \"::\"; port = 0; }, { address = \"::1\"; port = 65536; } );",
	"t:1: listen.port: 0 is out of range, expected 1 to 65535\n"
	"t:1: listen.port: 65536 is out of range, expected 1 to 65535\n"},
    {"sources = ( { name = \"a b\"; }, { name = \"c\"; } );\nroutes = ( { match = \"*\"; via = [ "
     "\"ab\" ]; } );",
	"t:1: sources.name: \"a b\": expected up to 63 letters, digits, \"-\", \"_\" and \".\", a "
	"letter or digit first\n"
	"t:2: routes.via: \"ab\" is neither a source nor a smarthost, expected one of \"c\"\n"},
    {"limits = { hops = 4294967297; errors = 99999999999; recipients = 0; };",
	"t:1: hops: 4294967297 is too large a number, expected at most 2147483647\n"
	"t:1: errors: 99999999999 is too large a number, expected at most 2147483647\n"
	"t:1: limits.recipients: 0 is out of range, expected 1 to 100000\n"},
    /* syntax: libconfig says no more than "syntax error" */
    {"hostname = relay;", "t:1: syntax error: \"relay\" needs quotes around it, as all texts, "
			  "sizes and durations do\n"},
    {"dns = { timeout = 5m; };", "t:1: syntax error: \"5m\" needs quotes around it, as all "
				 "texts, sizes and durations do\n"},
    {"hostname = 'a';", "t:1: syntax error: expected double quotes (\") around texts\n"},
    {"hostname = \xe2\x80\x9c"
     "a.test\xe2\x80\x9d;",
	"t:1: syntax error: expected straight double "
	"quotes (\") around texts, not those of a word processor\n"},
    {"hostname = \xe2\x80", "t:1: syntax error: expected key = value; with texts in quotes\n"},
    {"dns = { dnssec = off; };", "t:1: syntax error: \"off\" is not a value here, expected true or "
				 "false\n"},
    {"dns = { dnssec = Yes; };", "t:1: syntax error: \"Yes\" is not a value here, expected true or "
				 "false\n"},
    {"hostname = ;", "t:1: syntax error: there is no value behind \"=\"\n"},
    {"listen = ( { port = 1; }\n{ port = 2; } );",
	"t:2: syntax error: a comma is missing between \"}\" and \"{\"\n"},
    {"listen = ( { port = 1; }; );",
	"t:1: syntax error: items of a list are separated by commas, not semicolons\n"},
    {"trusted_networks = [ \"::1\", ];",
	"t:1: syntax error: there is a comma too many before \"]\"\n"},
    {"dns = { timeout = \"1s\";\n", "t:2: syntax error: the \"{\" of line 1 is never closed\n"},
    {"listen = ( { port = 1; ) };",
	"t:1: syntax error: \")\" stands where the \"{\" of line 1 should be closed by \"}\"\n"},
    {"workers = 1;\n};", "t:2: syntax error: \"}\" closes nothing\n"},
    {"trusted_networks = [ \"::1\", 5 ];",
	"t:1: mismatched element type in array: all values between [ and ] are of one kind\n"},
    {"workers = 1; workers = 2;",
	"t:1: duplicate setting name: each key stands once in its group\n"},
};

static void mistakes_are_told(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(mistakes); i++)
		bad(mistakes[i][0], mistakes[i][1]);
}

static void tell_mistakes_that_leak(void *arg)
{
	(void)arg;
	bad("user = \"a;\n",
	    "t:2: syntax error: the text that begins on line 1 has no closing quote\n");
	bad("user = \"a;\nlog = \"stderr\";",
	    "t:2: syntax error: the text that begins on line 1 ends on line 2, a quote may "
	    "be missing\n");
	bad("hostname \"a\";", "t:1: syntax error: there is no \"=\" behind \"hostname\"\n");
	bad("@include \"nowhere.conf\"",
	    "t:1: cannot open include file: the path is taken from the folder of the main "
	    "file, also when it begins with a slash\n");
}

/* Apart, since libconfig never frees a text that has no end, or no place, nor the name of a
 * file that is not there. */
static void mistakes_that_leak_are_told(void **state)
{
	(void)state;
	run_apart(tell_mistakes_that_leak, NULL);
}

static void all_mistakes_at_once_in_order(void **state)
{
	(void)state;
	bad("routes = ( { match = \"*\"; via = [ \"x\" ]; } );\n"
	    "zzzzzz = 1;\n"
	    "domains = ( { name = \"-a\"; return_path = \"x@b.jp\"; },\n"
	    "            { name = \"c.jp\"; colour = 1; dkim = ( { selector = \"s\"; } ); } );\n"
	    "workers = 99999999999;\n"
	    "log = 1;\n",
	    "t:1: routes.via: \"x\" is neither a source nor a smarthost, expected one of "
	    "\"default\"\n"
	    "t:2: zzzzzz: is not known\n"
	    "t:3: domains.name: \"-a\": has a hyphen beside a dot or at an end, which no host "
	    "name has\n"
	    "t:3: domains.return_path: \"x@b.jp\": \"b.jp\" is not in domains nor below one of "
	    "them, so SPF would pass for a stranger's domain and not count for DMARC; expected an "
	    "address like \"bounce@example.org\"\n"
	    "t:4: domains.colour: is not known\n"
	    "t:4: domains.dkim.key: is missing\n"
	    "t:5: workers: 99999999999 is too large a number, expected at most 2147483647\n"
	    "t:6: log: is a number, expected one of \"stderr\", \"syslog\", \"journal\"\n");
}

static void a_flood_of_mistakes_is_bounded(void **state)
{
	(void)state;
	struct buf text = {0};
	struct conf_errors errors = {0};
	for (int i = 0; i < 300; i++)
		buf_addf(&text, "zzzzz%d = 1;\n", i);
	assert_null(conf_parse(buf_text(&text), "t", &errors));
	assert_int_equal(errors.count, 300);
	assert_non_null(strstr(buf_text(&errors.text), "t: 100 more mistakes are not shown\n"));
	buf_free(&text);
	conf_errors_free(&errors);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(mistakes_are_told),
	    cmocka_unit_test(mistakes_that_leak_are_told),
	    cmocka_unit_test(all_mistakes_at_once_in_order),
	    cmocka_unit_test(a_flood_of_mistakes_is_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
