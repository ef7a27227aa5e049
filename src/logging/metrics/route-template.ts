// Turns a request path into its route template (`/api/v2/users/{id}/queues`): few enough to be a metric label, whatever ids the paths hold.
// It goes by the words that the platform's paths are made of, not by what an id looks like; it knows no methods.

export interface RouteTemplates {
  /** The template of a path or target (query ignored). Cached: a path seen lately costs one look-up. Never throws. */
  of(target: string): string;
}

/** What stands for a route once there are too many, and for paths that lead nowhere. */
export const OTHER_ROUTE = 'other';

const MAX_TEMPLATES = 150;
const MAX_CACHED_PATHS = 2048;
const LONGEST_CACHED_PATH = 256;
const MAX_SEGMENTS = 12;

/** At most `maxTemplates` different templates are given out; every further one is `other`. */
export function createRouteTemplates({ maxTemplates = MAX_TEMPLATES }: { maxTemplates?: number } = {}): RouteTemplates {
  const words = new Set(ROUTE_WORDS.split(/\s+/));
  const templates = new Set<string>();
  const cache = new Map<string, string>();

  const admit = (template: string): string => {
    if (templates.has(template)) return template;
    if (templates.size >= maxTemplates) return OTHER_ROUTE;
    templates.add(template);
    return template;
  };

  return {
    of(target) {
      const queryAt = target.indexOf('?');
      const path = queryAt === -1 ? target : target.slice(0, queryAt);
      const known = cache.get(path);
      if (known !== undefined) return known;
      const template = templateOf(path, words);
      const admitted = template === OTHER_ROUTE ? template : admit(template);
      if (path.length <= LONGEST_CACHED_PATH) {
        // Emptied rather than aged: filling it again costs less than keeping order on every look-up.
        if (cache.size >= MAX_CACHED_PATHS) cache.clear();
        cache.set(path, admitted);
      }
      return admitted;
    },
  };
}

function templateOf(path: string, words: ReadonlySet<string>): string {
  const apiAt = path.startsWith('/api/v2/') ? 0 : path.indexOf('/api/v2/');
  // Routes of our own have their templates from the table of routes.
  if (apiAt === -1 || segmentsBefore(path, apiAt) > 2) return OTHER_ROUTE;
  let template = '/api/v2';
  let at = apiAt + '/api/v2/'.length;
  for (let count = 0; at <= path.length; count++) {
    if (count === MAX_SEGMENTS) return `${template}/…`;
    const next = path.indexOf('/', at);
    const end = next === -1 ? path.length : next;
    const segment = path.slice(at, end);
    if (segment !== '') template += words.has(segment) ? `/${segment}` : '/{id}';
    at = end + 1;
  }
  return template;
}

function segmentsBefore(path: string, at: number): number {
  let count = 0;
  for (let slash = path.indexOf('/'); slash !== -1 && slash < at; slash = path.indexOf('/', slash + 1)) count++;
  return count;
}

export const ROUTE_WORDS = `
accelerators accessattributes accounts acd acknowledge actionevent actionmaps actions actiontargets actiontemplates activate activation
activities activity activitycodes activityplans add addresses addressvalidation adfs adherence adjacents aftercallwork agent agentaction
agentchecklists agentconference agentcopilots agentic agentless agentownedmappingpreview agents agentschedules agentscoringrules agentui
agentutilizations aggregates aiscoring alertablepresences alerting alerts alias aliases all alltime alphanumeric alternativeshifts analytics
annotations answers app appevents apple appointments approve architect assessments assign assignment assignments assistant assistants
associatedstation associateduser associations attachments attemptlimits attendance attributes attributions audio audioconnector audits
authentication authorization authorizations autoanswer automaticbestmethod availability available availablemediatypes availablemetabases
availablephonenumbers availabletopics average backgroundassistant barge batchrequests bestpoints billableusage billing billingperiods bot
botconnector botconnectors botflows bots browser build builtin bulk bulkadd bulkremove bulkreplace businessrules businessunits cachedmedia
calendar calibrations call callabletimesets callanalysisresponsesets callback callbacks callforwarding calls campaignrules campaigns cancel
capacityplanning capacityplans care carrierservices casemanagement caseplans cases categories celebrations certificate
certificateauthorities certificates changerequests changes channels characteristics charts chats checkin checkout chunks cic classifications
clear client clientapps clients clonedusers clusters clusterscans coach coaching cobrowse cobrowsesessions codes comments communications
comparedefault comparisonperiods conference config configschemas configuration configurations connections consult consumedresources
consumingresources contact contactcenter contactlistfilters contactlists contactlisttemplates contacts content contentmanagement contests
contexts continuousforecast contracts conversation conversations copies copilot copilotcontext copilots copy coretypes counts coverart
credentials crossplatform csv current customattributes customerintents customers customexclusioncolumns customkpiattributions dashboards
data dataextensions dataextraction dataingestionrules dataprivacy dataretention dataschemas datatables date datebased datedue deactivate
decisionmetrics decisiontables default defaults defaultstation definitions deleted deletedresourceconsumers deletionprotection deletions
dependencies dependencytracking dependents deployments details detect development diagnostic diagnostics dialects dialogflow dialogflowcx
dictionaryfeedback didpools dids digitalrulesets digits directreports directroutingbackup disconnect divisions divisionspermitted
divisionviews dkim dnc dnclists docs document documentation documents documentuploads domains download downloads draft drafts dtmf
dynamicsettings edgegroups edges edgetrunkbases edgeversionreport effectiveschedulesets email emailaddresses emailcampaigns emails
embeddedintegration embeddedsignup emergencygroups emergencylocations employeeengagement employeeperformance encodings engagement
engagements engines enrich enrollments entries escalationrules escalations estimate estimatedwaittime estimates evaluate evaluations
evaluators event eventdefinitions events execute executiondata executions expired explanations export exports extensionpools extensions
external externalactivities externalcontacts externalevents externalid externalmetrics externalsources facebook failedrecordings favorites
fax faxes features featuresupport feedback fieldconfig files filespecificationtemplates finalize flaggedreason flowexecutions flows
forceregenerate forecast forecasts forms freetrial function functions gamification gdpr general generate generatedphrases generationresults
generic geolocations gkn googlebusinessprofile grammars grants granularityconversion graphs greetings groups gsuite guest guides
headcountforecast headers health historical historicaladherencequery historicaldata history home hris ics id identifierlookup identifiers
identitynow identityproviders identityresolution ignorephrases ignoretopics images import imports importstatus importtemplates inbound
inboundmessages incoming individuals infer infrastructureascode insights instagram instances intakesettings integrations integrationstatus
intents interactions internalmessages intraday invite invoices ipaddressauthentication ipranges ivrs jobs journey journeys keyconfigurations
keyperformanceindicators keyperformanceindicatortypes knowledge knowledgebases labels languages languageunderstanding latest
latestconfiguration launch leaderboard learning lex lexv2 libraries license limit limits linebasesettings linedistribution lines link
listing localkeys locations logcapture logicalinterfaces loglevels logs longtermforecastdata longtermrequirements lookup mailbox mailfrom
mainforecast manage managementunit managementunits managers mappings maskingrules match matched maximumconferenceparties me media
mediaregions mediaretentionpolicies mediastatistics mediatypes meetings members merge message messages messaging messagingcampaigns metadata
metricdefinitions metrics migrate milestones mine miners minimumstaffing mobiledevices models modules monitor move namespaces notes
notifications nslookup nuance numberplans numbers oauth oauthcodegrantjwtexchange object objectivedetails objects observations offers
offlineconfiguration okta onattributechange oncreate onelogin open operations opportunities options organization organizations
orgauthorization orphanrecordings outbound outboundroutes outcomes outcomescores outgoing outofoffice owner paged pages pairings
parkingstate parse participants password paths performance performancepredictions permissions phonebasesettings phonenumbers phones
phrasegroups phrases physicalinterfaces ping pins planninggroups points policies policy possibleworkshifts postflowaction predictors
preference preferences prefixes presence presencedefinitions presences presentations preview primarysource priority prizeimages
processautomation products profile profiles profileskills programs progress promotion prompts properties providers publicassets publish
published publishedforms publishjobs purecloud pureengage pushdevices quality query querycapabilities queue queuemembers queues rankings
ratelimits reactions realtime reassign reboot recalculations receipt recipients recognitions reconnect record recording recordingkeys
recordingmetadata recordings recordingstate references refresh regions register related relationships remove replace report reporting
reportingturns reports reposition reprocessing requests requiredby requiredbycounts requirement requires reschedule reset resolutions
resources resourcetypes response responseassets responsemanagement responses restore result results retention retrieve
reversewhitepageslookup revert revoke rolecounts roledivisions roles rollback rooms rotationschedule route routes routing routinglanguages
routingskills routingstatus rows rule rules rulesets runs runtimes salesforce scan schedule schedulebids scheduledtriggers schedulegroups
scheduler schedules schedulesets scheduleslots scheduling schedulingjobs schedulingpreferences schemas scim scopes scorable scorecards
scores scoring scorm screenmonitors screenrecording screensessions screenshares scripts search secret secureattributes secureivrsessions
securityprofiles segments sentiment sentimentfeedback sentiments sequences servicegoaltemplates servicemapping servicenow
serviceproviderconfig session sessions setting settings setup setuppackage shared shares shifttrades shifttrading shorttermforecasts
shrinkage simplesearch simulate simulated sipmessages siptraces site siteconnections sites skillcombinations skillexpressions skillgroups
skills sms snapshot snippet socialmedia socials softwareupdate softwareversions sourceintents sources speech speechandtextanalytics
staffinggroupallocations staffinggroupallocationshistory staffinggroups staffingrequirement staffingrequirements stageplans stages start
state station stations statistics stats status statuscode statuses stepplans steps stop structured stt subject subjectgrants subjects
sublocations subscriptions suggest suggestions summaries summary superiors supportedcontent surveys sync synchronizations synchronize
systempresences systemprompts tags tagvalues target targets taskmanagement teams telephony template templates terminate test testconnection
testphrase textbots thirdpartypresences threading threadingtimeline threads timeoffbalance timeofflimits timeoffplans timeoffrequests
timeofftypes timeout timezonemappingpreview timezones toggles token tokens topiclinks topics totp tracepath trades train transcoding
transcription transcriptionengines transcripts transcripturl transcripturls transfer translations trends triggers trunkbasesettings trunks
trunkswithrecording trusteebillingoverview trustees trustor trustors truststore tts turns tweets twitter type types typing unanswered
unavailabletimes unifiedcommunications unlock unmatched unpair unpublished unresolved update updatedresourceconsumers upload uploads
uploadurl url urls usage user userapps userpolicies userrecordings users utilization utilizationlabel utterances uuidata v2 validate
validation values variables variations verification verifiers versions videos views virtualagents voice voicemail voices waitlistpositions
webauthn webdeployments webevents webhooks webmessaging weeks whatsapp whatsappcampaigns whatsappnumbers whitelist workbins
workforcemanagement workitems workplanbidranks workplanbids workplanrotations workplans workspaces worktypes wrapup wrapupcodemappings
wrapupcodes wrapups
`;
